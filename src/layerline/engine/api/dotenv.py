"""The values of env files as a shell reads them: quotes, escapes and references; nothing is run."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from layerline.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SPECIAL = re.compile(r"[\"'`\\]|\$[A-Za-z_{(]")
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_REFERENCE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-+?=])(.*))?", re.DOTALL)
_ESCAPED_IN_QUOTES = '$`"\\\n'


def raw_values(lines: Iterable[str]) -> dict[str, str]:
    """The values as they are written; the last line of a name counts."""
    return {name: value for name, _, value in (line.partition("=") for line in lines) if name}


def expand_values(lines: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Remove quotes and replace references, whatever their order.

    A name that no line sets is looked up in `environ`.
    """
    written: dict[str, str] = {}
    for line in lines:
        name, separator, value = line.partition("=")
        if not (separator and _PLAIN_NAME.fullmatch(name) and not _SPECIAL.search(value)):
            match = _ASSIGNMENT.fullmatch(line)
            if match is None:
                message = f'parse error: "{line}": not a bare assignment'
                raise QueryError(message)
            name, value = match.groups()
        written[name] = value
    scope = _Scope(written, environ)
    return {name: scope.value(name) for name in written}


def quote(value: str) -> str:
    """Quote a value where it has special characters: reading it back gives the value."""
    if not _SPECIAL.search(value):
        return value
    return "'" + value.replace("'", "'\\''") + "'"


@dataclass(slots=True)
class _Scope:
    """The variables of a file while they are worked out."""

    written: Mapping[str, str]
    environ: Mapping[str, str]
    known: dict[str, str] = field(default_factory=dict)
    trail: list[str] = field(default_factory=list)

    def value(self, name: str) -> str:
        """The value of a name; a name that leads back to itself is an error."""
        if name not in self.written:
            return self.environ.get(name, "")
        if name in self.trail:
            message = f"circular dependency detected: {' -> '.join([*self.trail, name])}"
            raise QueryError(message)
        if name not in self.known:
            self.trail.append(name)
            text = self.written[name]
            self.known[name] = _Reader(text, self).words() if _SPECIAL.search(text) else text
            self.trail.pop()
        return self.known[name]


@dataclass(slots=True)
class _Reader:
    """Reads one value, character by character."""

    text: str
    scope: _Scope
    at: int = 0

    def words(self) -> str:
        """The words of the value, joined by single spaces; a comment ends them."""
        words: list[str] = []
        word: list[str] | None = None
        while self.at < len(self.text):
            char = self.text[self.at]
            if char.isspace():
                self.at += 1
                words += ["".join(word)] if word is not None else []
                word = None
            elif char == "#" and word is None:
                break
            else:
                word = [*(word or []), self._piece()]
        words += ["".join(word)] if word is not None else []
        return " ".join(words)

    def _piece(self) -> str:
        """A quoted text, a reference, an escaped character or a plain one."""
        char = self.text[self.at]
        self.at += 1
        match char:
            case "'":
                return self._until("'")
            case '"':
                return self._in_quotes()
            case "\\":
                return self._next()
            case "$":
                return self._reference()
            case "`":
                msg = "commands are not run in an env file"
                raise self._error(msg)
            case _:
                return char

    def _in_quotes(self) -> str:
        parts: list[str] = []
        while self.at < len(self.text):
            char = self._next()
            if char == '"':
                return "".join(parts)
            if char == "\\":
                following = self._next()
                parts.append(following if following in _ESCAPED_IN_QUOTES else char + following)
            elif char in "$`":
                self.at -= 1
                parts.append(self._piece())
            else:
                parts.append(char)
        msg = "a quote is not closed"
        raise self._error(msg)

    def _reference(self) -> str:
        rest = self.text[self.at :]
        if rest.startswith("("):
            msg = "commands are not run in an env file"
            raise self._error(msg)
        if not rest.startswith("{"):
            match = _PLAIN_NAME.match(rest)
            self.at += match.end() if match else 0
            return self.scope.value(match[0]) if match else "$"
        self.at += 1
        match = _REFERENCE.fullmatch(self._until("}"))
        if match is None:
            msg = "a reference is not understood"
            raise self._error(msg)
        return self._chosen(*match.groups())

    def _chosen(self, name: str, operator: str | None, other: str | None) -> str:
        """`${NAME}`, `${NAME:-other}`, `${NAME:+other}` or `${NAME:?message}`."""
        value = self.scope.value(name)
        if operator is None:
            return value
        present = bool(value)
        word = _Reader(other or "", self.scope)
        if operator.endswith("+"):
            return word.words() if present else ""
        if operator.endswith("?") and not present:
            msg = f"{name}: {other or 'it is not set'}"
            raise self._error(msg)
        return value if present else word.words()

    def _until(self, end: str) -> str:
        found = self.text.find(end, self.at)
        if found < 0:
            msg = f"{end} is missing"
            raise self._error(msg)
        start, self.at = self.at, found + 1
        return self.text[start:found]

    def _next(self) -> str:
        if self.at >= len(self.text):
            msg = "it ends too early"
            raise self._error(msg)
        self.at += 1
        return self.text[self.at - 1]

    def _error(self, why: str) -> QueryError:
        return QueryError(f"parse error: {self.text!r}: {why}")
