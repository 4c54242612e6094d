"""The product keeps to `STYLE.md`: none of its phrases in strings, comments and documents."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME = Path(__file__).parents[2]
PHRASES = re.compile(
    r"\b(?:is|are) no(?! longer| more| later)\b|\banew\b|\btold\b|\bmend(?:s|ed|ing)?\b"
    r"|\bstands? on\b"
    r"|\bwhole(?! sentence)\b|\bso that\b|\b(?:is|are) (?:not )?there\b|\bbesides?\b",
    re.IGNORECASE,
)
# The workload is copied into the images: a reworded comment there is another layer.
ROOMS = ("src/layerline", "ci")
TEXTS = [path for room in ROOMS for path in sorted((HOME / room).rglob("*.py"))]
SCRIPTS = [
    path
    for room in (*ROOMS, "deploy", ".devcontainer")
    for path in sorted((HOME / room).rglob("*"))
    if path.suffix in {".sh", ".toml", ".yaml", ".yml"}
]
DOCUMENTS = [
    path for path in [*HOME.glob("*.md"), *HOME.glob("docs/**/*.md")] if path.name != "STYLE.md"
]


def python_texts(source: str) -> Iterator[tuple[int, str]]:
    """The strings, docstrings and comments of a module, with their first lines."""
    kinds = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", -1)}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in kinds:
            yield token.start[0], token.string


def found(path: Path) -> list[str]:
    text = path.read_text()
    if path.suffix == ".md":  # what stands in backticks is quoted: a message, a name
        text = re.sub(r"`[^`\n]*`", "", text)
    pieces = python_texts(text) if path.suffix == ".py" else enumerate(text.splitlines(), 1)
    return [
        f"{path.relative_to(HOME)}:{line + piece[: match.start()].count(chr(10))}: {match[0]}"
        for line, piece in pieces
        for match in PHRASES.finditer(piece)
    ]


def test_the_phrases_are_found_where_people_read() -> None:
    source = '"""A file that is no image."""\nname = f"made {1} anew"  # so that\nwhole = 1\n'
    texts = [piece for _, piece in python_texts(source)]
    hits = [match[0] for piece in texts for match in PHRASES.finditer(piece)]
    assert hits == ["is no", "anew", "so that"]


@pytest.mark.parametrize(
    "room",
    [
        "src/layerline/cli",
        "src/layerline/doctor",
        "src/layerline/engine",
        "src/layerline",
        "ci",
    ],
)
def test_no_module_uses_a_phrase_of_the_style_guide(room: str) -> None:
    assert [hit for path in TEXTS if path.is_relative_to(HOME / room) for hit in found(path)] == []


def test_no_script_or_document_uses_a_phrase_of_the_style_guide() -> None:
    assert [hit for path in [*SCRIPTS, *DOCUMENTS, HOME / "layerline"] for hit in found(path)] == []
