"""A Dockerfile as logical lines: here end directives, comments, continuations and heredocs.

Invariant: a line's `rest` holds no line break; the bodies of its heredocs are kept byte for byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.engine.dockerfile.words import json_words, split_flags, split_quoted
from layerline.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_DIRECTIVES = frozenset({"escape", "syntax", "check"})
_HEREDOC = re.compile(r"(\d*)<<(-?)([^<]+)", re.DOTALL)
_QUOTES = re.compile(r"['\"]")
_WITH_HEREDOCS = frozenset({"ADD", "COPY", "RUN"})
_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heredoc:
    """An inline document: `raw` as it stands; `expand` is whether its name was unquoted."""

    name: str
    raw: str
    expand: bool
    chomp: bool

    @property
    def text(self) -> str:
        """The text; after `<<-` without the tabs that its lines begin with."""
        return _LEADING_TABS.sub("", self.raw) if self.chomp else self.raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One instruction: keyword in capitals, flags, the rest. `number` counts from 1."""

    keyword: str
    flags: tuple[str, ...]
    rest: str
    number: int
    heredocs: tuple[Heredoc, ...] = ()

    def texts(self) -> str:
        """The rest of the line, and the heredocs as they stood below it."""
        return self.rest + "".join(f"\n{doc.raw}{doc.name}" for doc in self.heredocs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The lines, the character that escapes, and the frontend that `# syntax=` asks for."""

    lines: tuple[Line, ...]
    escape: str = "\\"
    syntax: str = ""


def read_source(text: str) -> Source:
    """Cut a Dockerfile into logical lines."""
    physical = text.removeprefix("\ufeff").split("\n")
    directives = _directives(physical)
    escape = directives.get("escape", "\\")
    if escape not in ("\\", "`"):
        message = f"invalid escape token {escape!r} does not match ` or \\"
        raise QueryError(message)
    lines = tuple(_logical(physical, escape))
    if not lines:
        message = "file with no instructions"
        raise QueryError(message)
    return Source(lines=lines, escape=escape, syntax=directives.get("syntax", ""))


def _directives(physical: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in physical:
        match = _DIRECTIVE.fullmatch(line.strip())
        if match is None or match[1].lower() not in _DIRECTIVES:
            break
        name = match[1].lower()
        if name in found:
            message = f"only one {name} parser directive can be used"
            raise QueryError(message)
        found[name] = match[2]
    return found


def _logical(physical: list[str], escape: str) -> Iterator[Line]:
    continued = re.compile(rf"{re.escape(escape)}[ \t]*$")
    at = 0
    while at < len(physical):
        number = at + 1
        text, at = _joined(physical, at, continued)
        if text.strip():
            line = _line(text.strip(), number, escape)
            heredocs, at = _heredocs(line, physical, at, escape)
            yield _with_heredocs(line, heredocs)


def _joined(physical: list[str], at: int, continued: re.Pattern[str]) -> tuple[str, int]:
    """The physical lines from `at` that make one logical line, and where the next one begins."""
    text = ""
    begun = False
    while at < len(physical):
        part = physical[at].rstrip("\r")
        at += 1
        if part.lstrip().startswith("#") or (begun and not part.strip()):
            if begun:
                continue
            return "", at
        shortened, count = continued.subn("", part)
        text += shortened if begun else shortened.lstrip()
        if not count:
            break
        begun = True
    return text, at


def _line(text: str, number: int, escape: str) -> Line:
    keyword, *arguments = text.split(None, 1)
    flags, rest = split_flags(arguments[0] if arguments else "", escape)
    return Line(keyword=keyword.upper(), flags=flags, rest=rest.strip(), number=number)


def _with_heredocs(line: Line, heredocs: tuple[Heredoc, ...]) -> Line:
    return Line(
        keyword=line.keyword,
        flags=line.flags,
        rest=line.rest,
        number=line.number,
        heredocs=heredocs,
    )


def _heredocs(
    line: Line, physical: list[str], at: int, escape: str
) -> tuple[tuple[Heredoc, ...], int]:
    """The documents that a line announces, and where the line after them is."""
    found: list[Heredoc] = []
    for word in _heredoc_words(line, escape):
        heading = heredoc_heading(word)
        if heading is None:
            continue
        name, expand, chomp = heading
        body: list[str] = []
        while True:
            if at >= len(physical):
                message = "unterminated heredoc"
                raise QueryError(message)
            raw = physical[at]
            at += 1
            end = raw.rstrip("\r")
            if (end.lstrip("\t") if chomp else end) == name:
                break
            body.append(raw + "\n")
        found.append(Heredoc(name=name, raw="".join(body), expand=expand, chomp=chomp))
    return tuple(found), at


def _heredoc_words(line: Line, escape: str) -> list[str]:
    keyword, rest = line.keyword, line.rest
    if keyword == "ONBUILD":
        keyword, _, rest = rest.partition(" ")
        rest = split_flags(rest.strip(), escape)[1]
    if keyword.upper() not in _WITH_HEREDOCS or "<<" not in rest or json_words(rest) is not None:
        return []
    return split_quoted(rest, escape)


def heredoc_heading(word: str) -> tuple[str, bool, bool] | None:
    """What a word such as `<<-"EOF"` announces: name, whether to expand, whether to cut tabs."""
    match = _HEREDOC.fullmatch(word)
    if match is None:
        return None
    name = _QUOTES.sub("", match[3])
    return (name, name == match[3], bool(match[2])) if name else None
