"""Which paths are meant: the patterns of Dockerfiles and the Dagger API, as moby's patternmatcher reads them.

Invariant: a path is matched when the last pattern that matches it, or a directory above it, is not negated.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

_LITERAL_IN_GLOBS = frozenset(".+()|{}$")
_SPECIAL = frozenset("*[]?^\\")


class PatternError(ValueError):
    """Text that is no pattern."""


class Verdict(Enum):
    """What becomes of a path in a walk."""

    KEEP = "keep"
    PASS = "pass"
    """Not kept for itself; a directory is, once something below it is."""
    DROP = "drop"
    """Not kept, and nothing below it can be."""


@dataclass(frozen=True, slots=True)
class _Pattern:
    """One cleaned pattern, without its exclamation mark."""

    text: str
    negated: bool
    regex: re.Pattern[str] | None

    @classmethod
    def parse(cls, text: str) -> _Pattern:
        cleaned = posixpath.normpath(text)
        if text.startswith("//"):
            cleaned = cleaned[1:]
        negated = cleaned.startswith("!")
        cleaned = cleaned.removeprefix("!") if negated else cleaned
        if not cleaned:
            message = f"illegal exclusion pattern: {text!r}"
            raise PatternError(message)
        _check_syntax(cleaned)
        plain = not _SPECIAL.intersection(cleaned)
        return cls(text=cleaned, negated=negated, regex=None if plain else _compile(cleaned))

    def matches(self, path: str) -> bool:
        if self.regex is None:
            return path == self.text
        return self.regex.fullmatch(path) is not None

    @property
    def stem(self) -> str:
        """The pattern without a last part that is only stars."""
        return self.text.removesuffix("/**").removesuffix("/*")

    @property
    def is_prefix(self) -> bool:
        """Whether what it matches begins with its own text."""
        return not _SPECIAL.intersection(self.stem)


@dataclass(slots=True)
class Matcher:
    """Compiled patterns. A directory's matches are remembered, so that a walk asks each pattern once per path."""

    patterns: tuple[_Pattern, ...]
    _known: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, patterns: Sequence[str]) -> Matcher:
        """Compile; blank patterns are left out, broken ones raise PatternError."""
        return cls(tuple(_Pattern.parse(text) for text in map(str.strip, patterns) if text))

    def matches(self, path: str, *, is_dir: bool = False) -> bool:
        """Whether the path, relative and with slashes, is matched, itself or by a directory above it."""
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
        above = path.rpartition("/")[0]
        inherited = self._bits(above) if above else 0
        matched = False
        bits = 0
        for number, pattern in enumerate(self.patterns):
            bit = 1 << number
            if not inherited & bit and (pattern.negated != matched or not pattern.matches(path)):
                continue
            bits |= bit
            matched = not pattern.negated
        return matched, bits

    def _bits(self, directory: str) -> int:
        known = self._known.get(directory)
        if known is None:
            known = self._known[directory] = self._match(directory)[1]
        return known


class Filter:
    """Include and exclude patterns as a walk needs them: what to keep, and where not to look at all."""

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include = Matcher.of(include) if include else None
        self._exclude = Matcher.of(exclude) if exclude else None
        self._stems = _stems(self._include, negated=False)
        self._exceptions = _stems(self._exclude, negated=True)

    def __call__(self, path: str, is_dir: bool) -> Verdict:
        """What becomes of a path, relative to the root of the walk."""
        verdict = Verdict.KEEP
        if self._include is not None and not self._include.matches(path, is_dir=is_dir):
            verdict = _unless_below(path, self._stems)
        if (
            verdict is not Verdict.DROP
            and self._exclude is not None
            and self._exclude.matches(path, is_dir=is_dir)
        ):
            verdict = _unless_below(path, self._exceptions)
        return verdict if is_dir or verdict is Verdict.KEEP else Verdict.DROP


def is_local(pattern: str) -> bool:
    """Whether a pattern stays inside the directory it is for; the others are not used."""
    cleaned = posixpath.normpath(pattern.strip().removeprefix("!"))
    return not cleaned.startswith("/") and cleaned != ".." and not cleaned.startswith("../")


def _unless_below(path: str, stems: tuple[str, ...] | None) -> Verdict:
    """DROP a directory where no stem leads into it; None means that one may lead anywhere."""
    if stems is None or any(stem.startswith(path + "/") for stem in stems):
        return Verdict.PASS
    return Verdict.DROP


def _stems(matcher: Matcher | None, *, negated: bool) -> tuple[str, ...] | None:
    if matcher is None:
        return ()
    chosen = [pattern for pattern in matcher.patterns if pattern.negated == negated]
    if all(pattern.is_prefix for pattern in chosen):
        return tuple(pattern.stem + "/" for pattern in chosen)
    return None


def _compile(text: str) -> re.Pattern[str]:
    pieces: list[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if text.startswith("**", at - 1):
            at += 1 + text.startswith("/", at + 1)
            pieces.append(".*" if at == len(text) else "(?:.*/)?")
        elif char == "*":
            pieces.append("[^/]*")
        elif char == "?":
            pieces.append("[^/]")
        elif char == "\\":
            pieces.append(re.escape(text[at : at + 1]))
            at += 1
        elif char == "[":
            end = _class_end(text, at)
            pieces.append("[" + text[at:end].replace("[", "\\[") + "]")
            at = end + 1
        else:
            pieces.append(re.escape(char))
    try:
        return re.compile("".join(pieces))
    except re.error as exc:
        message = f"syntax error in pattern {text!r}: {exc}"
        raise PatternError(message) from exc


def _check_syntax(text: str) -> None:
    at = 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
            if at == len(text):
                _refuse(text)
        elif text[at] == "[":
            at = _class_end(text, at + 1)
        at += 1


def _class_end(text: str, at: int) -> int:
    """Where the closing bracket of a character class is; `at` is behind the opening one."""
    begin = at + text.startswith("^", at)
    at = begin
    while at < len(text) and (text[at] != "]" or at == begin):
        at += 2 if text[at] == "\\" else 1
    if at >= len(text):
        _refuse(text)
    return at


def _refuse(text: str) -> None:
    message = f"syntax error in pattern {text!r}"
    raise PatternError(message)
