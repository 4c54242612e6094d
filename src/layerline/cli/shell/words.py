"""Words of a script: quotes, parameters, substitutions.

The error texts are those of https://github.com/mvdan/sh, with which Dagger parses scripts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from layerline.cli.shell.cursor import METACHARACTERS, Cursor
from layerline.cli.shell.grammar import (
    Arithmetic,
    Literal,
    Parameter,
    Quoted,
    Substitution,
    Word,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerline.cli.shell.grammar import Part, Script

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPECIAL = frozenset("@*#?-$!0123456789")
_NUMBER = re.compile(r"\d+")
_OPERATOR = re.compile(r":?[-=?+]|%%?|##?")
_ESCAPED_IN_QUOTES = frozenset('$`"\\\n')
_END = "reached EOF"


class WordReader:
    """Reads words at a cursor; `parse` reads the script of a substitution."""

    def __init__(self, cursor: Cursor, parse: Callable[[Cursor], Script]) -> None:
        self.cursor = cursor
        self._parse = parse

    def word(self) -> Word | None:
        """The word that comes next; None where there is none."""
        begin = self.cursor.place
        parts = self._parts(METACHARACTERS)
        return Word(tuple(parts), begin, self.cursor.place) if parts else None

    def document(self, text: str) -> Word:
        """The text of a here-document, whose parameters and substitutions are expanded."""
        inner = WordReader(Cursor(text, self.cursor.name), self._parse)
        parts: list[Part] = []
        while inner.cursor.char:
            parts.append(inner._in_quotes(frozenset("$`\\\n")))
        return Word((Quoted(tuple(parts)),))

    def _parts(self, stop: frozenset[str]) -> list[Part]:
        """Parts up to an unquoted character of `stop`, which is not read."""
        cursor, plain = self.cursor, ""
        parts: list[Part] = []
        while (char := cursor.char) and char not in stop:
            if char not in "\\'\"$`":
                plain += char
                cursor.place += 1
                continue
            if cursor.take("\\\n"):
                continue
            if plain:
                parts.append(Literal(plain))
                plain = ""
            parts.append(self._special(char))
        if plain:
            parts.append(Literal(plain))
        return parts

    def _special(self, char: str) -> Part:
        """A part that begins with a quoting character or a dollar."""
        cursor = self.cursor
        if char == "\\":
            found = Literal(cursor.text[cursor.place + 1 : cursor.place + 2] or "\\", quoted=True)
            cursor.place += 2
            return found
        if char == "'":
            return self._single()
        if char == '"':
            return self._double()
        return self._backquoted() if char == "`" else self._dollar()

    def _single(self) -> Literal:
        begin = self.cursor.place
        end = self.cursor.text.find("'", begin + 1)
        if end < 0:
            self.cursor.fail(f"{_END} without closing quote '", begin, incomplete=True)
        self.cursor.place = end + 1
        return Literal(self.cursor.text[begin + 1 : end], quoted=True)

    def _double(self) -> Quoted:
        cursor, begin, parts = self.cursor, self.cursor.place, []
        cursor.place += 1
        while cursor.char and cursor.char != '"':
            parts.append(self._in_quotes(_ESCAPED_IN_QUOTES))
        if not cursor.take('"'):
            cursor.fail(f'{_END} without closing quote "', begin, incomplete=True)
        return Quoted(tuple(parts))

    def _in_quotes(self, escaped: frozenset[str]) -> Part:
        """One part of what stands in double quotes."""
        cursor = self.cursor
        if cursor.char == "\\":
            following = cursor.text[cursor.place + 1 : cursor.place + 2]
            cursor.place += 2
            if following in escaped:
                return Literal("" if following == "\n" else following, quoted=True)
            return Literal(f"\\{following}", quoted=True)
        if cursor.char == "`":
            return self._backquoted()
        if cursor.char == "$":
            return self._dollar()
        begin = cursor.place
        stop = '\\`$"' if '"' in escaped else "\\`$"
        while cursor.char and cursor.char not in stop:
            cursor.place += 1
        return Literal(cursor.text[begin : cursor.place], quoted=True)

    def _backquoted(self) -> Substitution:
        """An old substitution; a backslash in it quotes backquotes, backslashes and dollars."""
        cursor, begin, inner = self.cursor, self.cursor.place, ""
        cursor.place += 1
        while cursor.char and cursor.char != "`":
            if cursor.char == "\\" and cursor.text[cursor.place + 1 : cursor.place + 2] in "`\\$":
                cursor.place += 1
            inner += cursor.char
            cursor.place += 1
        if not cursor.take("`"):
            cursor.fail(f"{_END} without closing quote `", begin, incomplete=True)
        return Substitution(self._parse(Cursor(inner, cursor.name)))

    def _dollar(self) -> Part:
        cursor, begin = self.cursor, self.cursor.place
        if cursor.take("$(("):
            inner = self._until_brackets(begin)
            if inner is not None:
                return Arithmetic(inner)
            cursor.place = begin
        if cursor.take("$("):
            return self._substitution(begin)
        if cursor.take("${"):
            return self._braced(begin)
        cursor.place += 1
        if cursor.char and cursor.char in _SPECIAL:
            cursor.place += 1
            return Parameter(cursor.text[cursor.place - 1])
        match = NAME.match(cursor.text, cursor.place)
        if match is None:
            return Literal("$", quoted=True)
        cursor.place = match.end()
        return Parameter(match[0])

    def _until_brackets(self, begin: int) -> Word | None:
        """The expression up to `))`; None where the brackets are those of a subshell."""
        cursor, depth = self.cursor, 0
        parts: list[Part] = []
        while cursor.char:
            if cursor.char == ")" and depth == 0:
                return Word(tuple(parts)) if cursor.take("))") else None
            depth += {"(": 1, ")": -1}.get(cursor.char, 0)
            if cursor.char in "$`":
                parts.append(self._special(cursor.char))
            else:
                parts.append(Literal(cursor.char))
                cursor.place += 1
        return cursor.fail(f"{_END} without matching $(( with ))", begin, incomplete=True)

    def _substitution(self, begin: int) -> Substitution:
        """The script up to the bracket that ends it, which is read where this one is read."""
        script = self._parse(self.cursor)
        if not self.cursor.take(")"):
            self.cursor.fail(f"{_END} without matching ( with )", begin + 1, incomplete=True)
        return Substitution(script)

    def _braced(self, begin: int) -> Parameter:
        cursor = self.cursor
        length = cursor.at("#") and cursor.text[cursor.place + 1 : cursor.place + 2] not in "}:%#"
        if length:
            cursor.place += 1
        name = self._parameter_name()
        if length:
            self._close(begin)
            return Parameter(name, "len")
        match = _OPERATOR.match(cursor.text, cursor.place)
        if match is None:
            self._close(begin)
            return Parameter(name)
        cursor.place = match.end()
        word = Word(tuple(self._parts(frozenset("}"))))
        self._close(begin)
        return Parameter(name, match[0], word)

    def _parameter_name(self) -> str:
        cursor = self.cursor
        match = NAME.match(cursor.text, cursor.place) or _NUMBER.match(cursor.text, cursor.place)
        if match is not None:
            cursor.place = match.end()
            return match[0]
        if cursor.char and cursor.char in _SPECIAL:
            cursor.place += 1
            return cursor.text[cursor.place - 1]
        return cursor.fail("parameter expansion requires a literal", incomplete=not cursor.char)

    def _close(self, begin: int) -> None:
        cursor = self.cursor
        if cursor.take("}"):
            return
        if not cursor.char:
            cursor.fail(f"{_END} without matching ${{ with }}", begin, incomplete=True)
        cursor.fail(f"not a valid parameter expansion operator: {cursor.char}")
