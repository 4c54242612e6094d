"""Which paths are meant: the patterns of Dockerfiles and the Dagger API, read as moby does.

The rules are those of moby/patternmatcher 0.6.1, which Dagger 0.21.8 and BuildKit use:
https://github.com/moby/patternmatcher/blob/v0.6.1/patternmatcher.go

Invariant: a path is matched when the last pattern that matches it, or a directory above it, is not
negated. Paths are relative, with slashes.
"""

from __future__ import annotations

import itertools
import posixpath
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

_WILD = frozenset("*?[]\\")
_SPECIAL = _WILD | {"^"}
_ESCAPED_IN_CLASS = frozenset("[&~|")
# A backslash and a letter reach Go's regular expressions as they are, where these mean something.
_GO_ESCAPES = {
    **{letter: "\\" + letter for letter in "dDwWbBAaftnrv"},
    "s": r"[\t\n\f\r ]",
    "S": r"[^\t\n\f\r ]",
    "z": r"\Z",
}


def escape(name: str) -> str:
    """The pattern that one name matches, and no other."""
    return "".join(f"\\{letter}" if letter in "*?[]\\!" else letter for letter in name)


def literal_beginning(pattern: str) -> str:
    """The path that a pattern starts with, before its first part with a wildcard; may be empty."""
    parts = _clean(pattern.strip().removeprefix("!")).split("/")
    plain = itertools.takewhile(lambda part: not _WILD.intersection(part), parts)
    return "/".join(plain)


class PatternError(ValueError):
    """Text that is not a valid pattern."""


class Decision(Enum):
    """What becomes of a path in a walk.

    PASS is for directories: kept only once something below is kept. DROP also means that nothing
    below can be kept.
    """

    KEEP = "keep"
    PASS = "pass"
    DROP = "drop"


class PathPredicate(Protocol):
    """Says which paths a walk keeps. A directory is asked about before what is in it."""

    def __call__(self, path: str, *, is_dir: bool) -> Decision:
        """What becomes of a path, relative to the root of the walk."""


@dataclass(frozen=True)
class Pattern:
    """One cleaned pattern, without its exclamation mark; `regex` is None for a plain path."""

    text: str
    negated: bool
    regex: re.Pattern[str] | None

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Clean and compile; raises PatternError for invalid text."""
        cleaned = _clean(text)
        negated = cleaned.startswith("!")
        cleaned = cleaned[negated:]
        if not cleaned:
            message = f"illegal exclusion pattern: {text!r}"
            raise PatternError(message)
        _check_syntax(cleaned)
        regex = _compile(cleaned) if _WILD.intersection(cleaned) else None
        return cls(text=cleaned, negated=negated, regex=regex)

    def matches(self, path: str) -> bool:
        """Whether this path itself is matched."""
        return path == self.text if self.regex is None else self.regex.fullmatch(path) is not None

    @property
    def stem(self) -> str:
        """The pattern without a last part that is only stars."""
        return self.text.removesuffix("/**").removesuffix("/*")


class Matcher:
    """Compiled patterns.

    What matched a directory is remembered: a walk asks each pattern once for each path.
    Blank patterns count for nothing.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        stripped = [text.strip() for text in patterns]
        self.patterns = tuple(Pattern.parse(text) for text in stripped if text)
        self._known: dict[str, int] = {}

    def matches(self, path: str, *, is_dir: bool = False) -> bool:
        """Whether the path is matched, itself or by a directory above it."""
        matched, bits = self._match(path)
        if is_dir:
            self._known[path] = bits
        return matched

    def matches_exactly(self, path: str) -> bool:
        """Whether the path itself is matched, whatever holds of the directories above it."""
        matched = False
        for pattern in self.patterns:
            if pattern.negated == matched and pattern.matches(path):
                matched = not pattern.negated
        return matched

    def _match(self, path: str) -> tuple[bool, int]:
        """Whether the path is matched, and a bit for each pattern that took part."""
        above = path.rpartition("/")[0]
        inherited = self._bits(above) if above else 0
        matched = False
        bits = 0
        for number, pattern in enumerate(self.patterns):
            bit = 1 << number
            if inherited & bit or (pattern.negated == matched and pattern.matches(path)):
                bits |= bit
                matched = not pattern.negated
        return matched, bits

    def _bits(self, directory: str) -> int:
        known = self._known.get(directory)
        if known is None:
            known = self._known[directory] = self._match(directory)[1]
        return known


class Filter:
    """Include and exclude patterns as a walk needs them: what to keep, and where not to look."""

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include = Matcher(include) if include else None
        self._exclude = Matcher(exclude) if exclude else None
        self._ways_in = _stems(self._include, negated=False)
        self._exceptions = _stems(self._exclude, negated=True)

    def __call__(self, path: str, *, is_dir: bool) -> Decision:
        """What becomes of a path."""
        decision = Decision.KEEP
        if self._include is not None and not self._include.matches(path, is_dir=is_dir):
            decision = _unless_below(path, self._ways_in)
        if decision is Decision.DROP:
            return decision
        if self._exclude is not None and self._exclude.matches(path, is_dir=is_dir):
            decision = _unless_below(path, self._exceptions)
        return decision if is_dir or decision is Decision.KEEP else Decision.DROP


def parse_ignore(text: str) -> list[str]:
    """The patterns of a .dockerignore file; `#` begins a comment in the first column only."""
    found: list[str] = []
    for line in text.removeprefix("\ufeff").split("\n"):
        text = "" if line.startswith("#") else line.strip()
        negated = text.startswith("!")
        pattern = text.removeprefix("!").strip()
        if pattern:
            pattern = posixpath.normpath(pattern).lstrip("/") or "/"
        if text:
            found.append("!" * negated + pattern)  # a lone "!" is refused by who reads the pattern
    return found


def is_local(pattern: str) -> bool:
    """Whether a pattern stays inside the directory it is for."""
    cleaned = posixpath.normpath(pattern.strip().removeprefix("!"))
    return not cleaned.startswith("/") and cleaned.split("/", 1)[0] != ".."


def _unless_below(path: str, stems: tuple[str, ...] | None) -> Decision:
    """DROP a directory where no stem leads into it; None means that one may lead anywhere."""
    if stems is None or any(stem.startswith(path + "/") for stem in stems):
        return Decision.PASS
    return Decision.DROP


def _stems(matcher: Matcher | None, *, negated: bool) -> tuple[str, ...] | None:
    """The plain beginnings of the patterns of one sort; None where one of them has none."""
    patterns = matcher.patterns if matcher is not None else ()
    stems = [pattern.stem for pattern in patterns if pattern.negated == negated]
    if any(_SPECIAL.intersection(stem) for stem in stems):
        return None
    return tuple(stem + "/" for stem in stems)


def _clean(text: str) -> str:
    cleaned = posixpath.normpath(text)
    return cleaned[1:] if cleaned.startswith("//") else cleaned  # POSIX keeps two, moby does not


def _compile(text: str) -> re.Pattern[str]:
    """Translate as moby does; only `**` at one end of a plain text is compared as text."""
    if text.startswith("**/") and not _WILD.intersection(text[3:]):
        expression = "(?s:.*/)?" + re.escape(text[3:])
    elif text.startswith("**") and not _WILD.intersection(text[2:]):
        expression = "(?s:.*)" + re.escape(text[2:])
    elif text.endswith("**") and not _WILD.intersection(text[:-2]):
        expression = re.escape(text[:-2]) + "(?s:.*)"
    else:
        expression = _expression(text)
    try:
        return re.compile(expression, re.ASCII)
    except re.error as exc:
        raise _broken(text) from exc


def _expression(text: str) -> str:
    """A class is copied into the expression; `**` means directories, at the end anything."""
    pieces: list[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        if text.startswith("**", at):
            at += 3 if text.startswith("/", at + 2) else 2
            pieces.append(".*" if at >= len(text) else "(?:.*/)?")
            continue
        if char == "[":
            end = _class_end(text, at + 1)
            pieces.append(_class(text[at + 1 : end]))
            at = end + 1
            continue
        if char == "\\":
            at += 1
            pieces.append(_escaped(text, text[at]))
        else:
            pieces.append({"*": "[^/]*", "?": "[^/]", "^": "^"}.get(char) or re.escape(char))
        at += 1
    return "".join(pieces)


def _escaped(pattern: str, char: str) -> str:
    if char.isascii() and not char.isalnum():
        return re.escape(char)
    if char not in _GO_ESCAPES:
        raise _broken(pattern)
    return _GO_ESCAPES[char]


def _class(text: str) -> str:
    """A character class as Python writes it; `[` and doubled signs mean more there than here."""
    inner = "".join("\\" + char if char in _ESCAPED_IN_CLASS else char for char in text)
    return f"[{inner}]"


def _check_syntax(text: str) -> None:
    at = 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
            if at == len(text):
                raise _broken(text)
        elif text[at] == "[":
            at = _class_end(text, at + 1)
        at += 1


def _class_end(text: str, at: int) -> int:
    """Where the closing bracket is; `at` is behind the opening one. As Go's filepath.Match says."""
    at += text.startswith("^", at)
    begin = at
    while at == begin or not text.startswith("]", at):
        at = _class_char(text, at)
        if text.startswith("-", at):
            at = _class_char(text, at + 1)
    return at


def _class_char(text: str, at: int) -> int:
    """Step over one character of a class, which may be escaped, and of which more must follow."""
    if at >= len(text) or text[at] in "-]":
        raise _broken(text)
    at += 2 if text[at] == "\\" else 1
    if at >= len(text):
        raise _broken(text)
    return at


def _broken(text: str) -> PatternError:
    return PatternError(f"syntax error in pattern {text!r}")
