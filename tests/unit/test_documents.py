"""What the documents name exists: the files of the table of behaviours, paths, and links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from layerline import command

HOME = Path(__file__).parents[2]
WHERE = HOME / "docs/architecture/where.md"
DOCUMENTS = [*HOME.glob("*.md"), *HOME.glob("docs/**/*.md"), *HOME.glob("[a-z]*/README.md")]
# Of the behaviours in the table; each was once looked for by somebody who knew only file names.
BEHAVIOURS = 41
# Paths in documents begin at one of these, or name a module by the end of its path.
ROOTS = (HOME, HOME / "src/layerline", HOME / "src/layerline/engine", HOME / "src/ct_scan_mlops")
# What a user's repository or a build has, not this checkout.
ELSEWHERE = re.compile(
    r"dockerfiles/(programs|probes|requests)|tests/probe\w*\.py|src/your_package.*|train\.py"
    r"|.*[A-Z]{3}.*"
)


def rows() -> list[list[str]]:
    lines = [line for line in WHERE.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def tracked() -> list[str]:
    argv: list[str | Path] = ["git", "-c", f"safe.directory={HOME}", "-C", HOME, "ls-files", "-z"]
    return command.run(argv).stdout.decode().split("\0")


def quoted_paths(text: str) -> set[str]:
    """The words in backticks that are paths of this repository."""
    quoted = " ".join(re.findall(r"`([^`\n]+)`", text))
    tops = "src|ci|tests|docs|deploy|benchmarks|dockerfiles|locks|requirements|engine|cli|store"
    found = re.findall(rf"(?<![\w./-])(?:{tops})/[\w./*-]*\w|(?<![\w.])\w+\.py\b", quoted)
    return {path for path in found if not ELSEWHERE.fullmatch(path)}


def test_the_table_has_every_behaviour_once() -> None:
    names = [row[0] for row in rows()]
    assert len(names) == len(set(names)) == BEHAVIOURS
    assert [row for row in rows() if len(row) != 3 or not all(row)] == []


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_each_file_of_the_table_exists(row: list[str]) -> None:
    assert (HOME / row[1].strip("`")).is_file()


def test_each_name_in_backticks_of_the_table_is_in_its_file() -> None:
    for _, file, why in rows():
        text = (HOME / file.strip("`")).read_text()
        for name in re.findall(r"`([\w.]+)`", why):
            if "." not in name or name[0].isupper():
                assert re.search(rf"\b{name.rpartition('.')[2]}\b", text), (file, name)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(HOME).as_posix())
def test_each_path_and_link_of_a_document_exists(path: Path) -> None:
    text = path.read_text()
    names = tracked()
    missing = [
        each
        for each in sorted(quoted_paths(text))
        if not any([*root.glob(each)] for root in ROOTS)
        and not any(name.endswith(f"/{each}") for name in names)
    ]
    assert missing == []
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        name, _, anchor = target.partition("#")
        place = path.parent / name if name else path
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), target


def anchors(path: Path) -> set[str]:
    """The anchors of a document, as the sites that show Markdown make them."""
    found = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}
