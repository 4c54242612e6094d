"""The lexical part of Dockerfiles: directives, comments, continuations, heredocs, flags and words.

Invariant: standard library only and Python 3.9, as the doctor uses it too. Text is never refused:
what BuildKit would refuse is listed in `Source.errors`, in the order in which BuildKit finds it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SPACE = " \t\v\f\r"
_BLANKS = re.compile(rf"[{_SPACE}]+")
_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_DIRECTIVES = frozenset({"escape", "syntax", "check"})
_ESCAPES = ("\\", "`")
_HEREDOC = re.compile(r"(\d*)<<(-?)([^<]+)", re.DOTALL)
_QUOTES = re.compile(r"['\"]")
_WITH_HEREDOCS = frozenset({"ADD", "COPY", "RUN"})
_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)


@dataclass(frozen=True)
class Heredoc:
    """An inline document: `raw` as it is written; `expand` is whether its name was unquoted."""

    name: str
    raw: str
    expand: bool
    chomp: bool

    @property
    def text(self) -> str:
        """The text; after `<<-` without the tabs that its lines begin with."""
        return _LEADING_TABS.sub("", self.raw) if self.chomp else self.raw


@dataclass(frozen=True)
class Line:
    """One instruction: keyword in capitals, flags without quotes, the rest without line breaks.

    `number` counts physical lines from 1; the bodies of heredocs are kept byte for byte.
    """

    keyword: str
    flags: tuple[str, ...]
    rest: str
    number: int
    heredocs: tuple[Heredoc, ...] = ()

    def texts(self) -> str:
        """The rest of the line, followed by its heredocs as they are written."""
        return self.rest + "".join(f"\n{doc.raw}{doc.name}" for doc in self.heredocs)


@dataclass(frozen=True)
class Source:
    """The instructions, the escape character, and the frontend that `# syntax=` asks for."""

    lines: tuple[Line, ...]
    escape: str = "\\"
    syntax: str = ""
    errors: tuple[str, ...] = ()


def read_source(text: str) -> Source:
    """Split a Dockerfile into instructions."""
    physical = text.removeprefix("\ufeff").split("\n")
    errors: list[str] = []
    directives = _directives(physical, errors)
    escape = directives.get("escape", "\\")
    if escape not in _ESCAPES:
        errors.append(f"invalid escape token {escape!r} does not match ` or \\")
        escape = "\\"
    lines = tuple(_logical_lines(physical, escape, errors))
    if not lines:
        errors.append("file with no instructions")
    return Source(lines, escape, directives.get("syntax", ""), tuple(errors))


def heredoc_heading(word: str) -> tuple[str, bool, bool] | None:
    """What a word such as `<<-"EOF"` announces: name, whether to expand, whether to cut tabs."""
    match = _HEREDOC.fullmatch(word)
    if match is None:
        return None
    name = _QUOTES.sub("", match[3])
    return (name, name == match[3], bool(match[2])) if name else None


def split_plain(text: str) -> list[str]:
    """Words between white space; quotes mean nothing."""
    return [word for word in _BLANKS.split(text) if word]


def split_quoted(text: str, escape: str) -> list[str]:
    """Words between white space that is neither quoted nor escaped; they keep their quotes."""
    words: list[str] = []
    at = 0
    while at < len(text):
        if text[at] in _SPACE:
            at += 1
            continue
        end = _word_end(text, at, escape)
        words.append(text[at:end])
        at = end
    return words


def split_flags(text: str, escape: str) -> tuple[tuple[str, ...], str]:
    """The flags before the arguments, unquoted, and the arguments."""
    flags: list[str] = []
    at = 0
    while text.startswith("--", at):
        end = _word_end(text, at, escape)
        word = _unquote(text[at:end], escape)
        at = end
        while at < len(text) and text[at] in _SPACE:
            at += 1
        if word == "--":
            break
        flags.append(word)
    return tuple(flags), text[at:]


def json_list(text: str) -> list[object] | None:
    """The items of the exec form, a JSON list; None for anything else, which is the shell form."""
    if not text.lstrip().startswith("["):
        return None
    try:
        items: list[object] = json.loads(text)
    except ValueError:
        return None
    return items


def _directives(physical: list[str], errors: list[str]) -> dict[str, str]:
    """The parser directives, which only count before the first other line."""
    directives: dict[str, str] = {}
    for line in physical:
        match = _DIRECTIVE.fullmatch(line.strip())
        if match is None or match[1].lower() not in _DIRECTIVES:
            break
        name = match[1].lower()
        if name in directives:
            errors.append(f"only one {name} parser directive can be used")
        directives[name] = match[2]
    return directives


def _logical_lines(physical: list[str], escape: str, errors: list[str]) -> Iterator[Line]:
    continued = re.compile(rf"{re.escape(escape)}[ \t]*$")
    at = 0
    while at < len(physical):
        number = at + 1
        text, at = _join_continuations(physical, at, continued)
        if not text.strip():
            continue
        keyword, *arguments = text.strip().split(None, 1)
        flags, rest = split_flags(arguments[0] if arguments else "", escape)
        rest = rest.strip()
        heredocs: list[Heredoc] = []
        for word in _heredoc_words(keyword, rest, escape):
            heading = heredoc_heading(word)
            if heading is not None:
                heredoc, at = _read_heredoc(heading, physical, at, errors)
                heredocs.append(heredoc)
        yield Line(keyword.upper(), flags, rest, number, tuple(heredocs))


def _join_continuations(
    physical: list[str], at: int, continued: re.Pattern[str]
) -> tuple[str, int]:
    """The physical lines from `at` that make one logical line, and where the next one begins."""
    text = ""
    is_open = False
    while at < len(physical):
        part = physical[at].rstrip("\r")
        at += 1
        if part.lstrip().startswith("#") or (is_open and not part.strip()):
            if is_open:
                continue
            return "", at
        shortened, count = continued.subn("", part)
        text += shortened if is_open else shortened.lstrip()
        if not count:
            break
        is_open = True
    return text, at


def _heredoc_words(keyword: str, rest: str, escape: str) -> list[str]:
    """The words of an instruction among which headings of heredocs count."""
    if keyword.upper() == "ONBUILD":
        keyword, _, rest = rest.partition(" ")
        rest = split_flags(rest.strip(), escape)[1]
    if keyword.upper() not in _WITH_HEREDOCS or "<<" not in rest or json_list(rest) is not None:
        return []
    return split_quoted(rest, escape)


def _read_heredoc(
    heading: tuple[str, bool, bool], physical: list[str], at: int, errors: list[str]
) -> tuple[Heredoc, int]:
    """The document from `at` on, and where the line after its end is."""
    name, expand, chomp = heading
    body: list[str] = []
    while at < len(physical):
        raw = physical[at]
        at += 1
        end = raw.rstrip("\r")
        if (end.lstrip("\t") if chomp else end) == name:
            break
        body.append(raw + "\n")
    else:
        errors.append("unterminated heredoc")
    return Heredoc(name, "".join(body), expand, chomp), at


def _word_end(text: str, at: int, escape: str) -> int:
    quote = ""
    while at < len(text):
        char = text[at]
        if char == escape and quote != "'":
            at += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in _SPACE:
            break
        at += 1
    return min(at, len(text))


def _unquote(word: str, escape: str) -> str:
    text = ""
    quote = ""
    at = 0
    while at < len(word):
        char = word[at]
        if char == escape and quote != "'" and at + 1 < len(word):
            at += 1
            text += word[at]
        elif quote:
            text += "" if char == quote else char
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        else:
            text += char
        at += 1
    return text
