"""The documents' blocks: commands with what they print, and files.

An indented block is commands. A fenced one is what its language says; `console` has commands after
`$ ` with their output. Nothing else is allowed, so no block is of an unknown kind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

from layerline.cli.shell.grammar import Simple
from layerline.cli.shell.parser import parse_script

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME = Path(__file__).parents[2]
PAGES = (
    *sorted({*HOME.glob("*.md")}),
    *sorted((HOME / "docs").rglob("*.md")),
    HOME / "benchmarks/README.md",
)
COMMANDS = "sh"
LANGUAGES = frozenset({"console", "json", "python", COMMANDS, "text", "toml"})
_MARKDOWN = MarkdownIt("commonmark").enable("table")
_CUT_SHORT = "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of a page; `line` is where it begins, from 1."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    def commands(self) -> list[Command]:
        """The commands of a block that has some, in order."""
        if self.language == "console":
            return [
                _with_output(self, part)
                for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]
            ]
        if self.language == COMMANDS:
            return [Command(block=self, text=text) for text in _complete(self.text)]
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command line, and what the page says that it prints."""

    block: Block
    text: str
    output: str | None = None

    def calls(self) -> list[list[str]]:
        """The programs that it starts, with arguments; what the shell expands stays as text."""
        return list(simple_commands(self.text))


def blocks(path: Path) -> list[Block]:
    """The blocks of a page in their order."""
    return [
        Block(
            page=path.relative_to(HOME).as_posix(),
            line=(token.map or [0])[0] + 1,
            language=COMMANDS if token.type == "code_block" else token.info.strip(),
            text=token.content,
        )
        for token in _MARKDOWN.parse(path.read_text())
        if token.type in ("fence", "code_block")
    ]


def inline_code(path: Path) -> list[str]:
    """What stands in backticks, in the text and in tables."""
    tokens = (token for token in _MARKDOWN.parse(path.read_text()) if token.children)
    return [
        child.content
        for token in tokens
        for child in token.children or ()
        if child.type == "code_inline"
    ]


def simple_commands(text: str) -> Iterator[list[str]]:
    """The simple commands of a script, those of its substitutions too, each as its words."""
    for simple in _simple(parse_script(text)):
        words = []
        for word in simple.words:
            shown = word.literal
            words.append(text[word.begin : word.end].strip("\"'") if shown is None else shown)
        if words := [word for word in words if word != _CUT_SHORT]:
            yield words


def _simple(node: object) -> Iterator[Simple]:
    """All simple commands below a node of the syntax tree."""
    if isinstance(node, Simple):
        yield node
    if isinstance(node, list | tuple):
        for each in node:
            yield from _simple(each)
    elif names := getattr(node, "__dataclass_fields__", None):
        for name in names:
            yield from _simple(getattr(node, name))


def _with_output(block: Block, part: str) -> Command:
    text, _, output = part.partition("\n")
    return Command(block=block, text=text, output=output)


def _complete(text: str) -> list[str]:
    """A script's commands, one for each line; a line that goes on is joined with the next."""
    joined = re.sub(r"\\\n\s*", "", text)
    found: list[str] = []
    for line in joined.splitlines():
        if line.startswith(" ") and found:
            found[-1] += line
        elif line.strip():
            found.append(line)
    return found
