"""Words expanded into the arguments of commands: parameters, substitutions, splitting, paths.

See https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_06.
"""

from __future__ import annotations

import fnmatch
import glob
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.cli.shell.arithmetic import evaluate
from layerline.cli.shell.grammar import Arithmetic, Literal, Parameter, Quoted, Substitution
from layerline.cli.shell.scope import NOUNSET, ExpansionError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from layerline.cli.shell.grammar import Part, Script, Word
    from layerline.cli.shell.scope import Scope

_WHITESPACE = " \t\n"
_MAGIC = re.compile(r"[*?[]")


@dataclass(frozen=True, slots=True)
class _Piece:
    """Text of a field; `ends` is a border between two fields."""

    text: str = ""
    quoted: bool = False
    ends: bool = False


_BORDER = _Piece(ends=True)


@dataclass(frozen=True, slots=True)
class Expansion:
    """The expansion of words in a scope; `substitute` runs a script and gives what it prints."""

    scope: Scope
    workdir: Path
    substitute: Callable[[Script], Awaitable[str]]

    async def fields(self, words: Iterable[Word]) -> list[str]:
        """The arguments that words stand for."""
        found: list[str] = []
        for word in words:
            pieces = [piece for part in word.parts for piece in await self._expand(part)]
            for field in _fields(self._with_home(pieces)):
                found += self._paths(field)
        return found

    async def text(self, word: Word | None) -> str:
        """A word as one text: it is neither split nor a pattern."""
        pieces = await self._pieces(word)
        return "".join(" " if piece.ends else piece.text for piece in pieces)

    async def pattern(self, word: Word) -> re.Pattern[str]:
        """The pattern that a word is, of which quoted parts stand for themselves."""
        return re.compile(fnmatch.translate(_glob(await self._pieces(word))))

    async def _pieces(self, word: Word | None) -> list[_Piece]:
        parts = word.parts if word is not None else ()
        found = [piece for part in parts for piece in await self._expand(part, splits=False)]
        return self._with_home(found)

    def _with_home(self, pieces: list[_Piece]) -> list[_Piece]:
        """The pieces with the home directory in the place of a tilde at their beginning."""
        home = self.scope.variables.get("HOME")
        first = pieces[0] if pieces else _BORDER
        if first.quoted or home is None or not re.match(r"~(/|\Z)", first.text):
            return pieces
        if first.text == "~" and len(pieces) > 1 and not pieces[1].ends:
            return pieces
        return [_Piece(home, quoted=True), _Piece(first.text[1:]), *pieces[1:]]

    async def _expand(
        self, part: Part, *, quoted: bool = False, splits: bool = True
    ) -> list[_Piece]:
        match part:
            case Literal(text, own):
                return [_Piece(text, quoted=quoted or own)]
            case Quoted(parts):
                pieces = [p for inner in parts for p in await self._expand(inner, quoted=True)]
                return pieces or [_Piece(quoted=True)]
            case Substitution(script):
                text = (await self.substitute(script)).rstrip("\n")
            case Arithmetic(expression):
                text = str(evaluate(await self.text(expression), self.scope.variables))
            case Parameter("@" | "*" as name, operator="") if splits or quoted:
                return self._arguments(name, quoted=quoted)
            case _:
                found = await self._parameter(part, quoted=quoted, splits=splits)
                if isinstance(found, list):
                    return found
                text = found
        return [_Piece(text, quoted=True)] if quoted or not splits else self._split(text)

    def _arguments(self, name: str, *, quoted: bool) -> list[_Piece]:
        """`$@` and `$*`: one field each, or in quotes `$*` as one."""
        arguments = self.scope.arguments
        if quoted and name == "*":
            separator = self.scope.variables.get("IFS", _WHITESPACE)[:1]
            return [_Piece(separator.join(arguments), quoted=True)]
        pieces: list[_Piece] = []
        for place, argument in enumerate(arguments):
            pieces += [_BORDER] if place else []
            pieces += [_Piece(argument, quoted=True)] if quoted else self._split(argument)
        return pieces

    def _split(self, text: str) -> list[_Piece]:
        """Text that is split into fields at the characters of IFS."""
        separators = self.scope.variables.get("IFS", _WHITESPACE)
        blanks = "".join(char for char in separators if char in _WHITESPACE)
        others = "".join(char for char in separators if char not in _WHITESPACE)
        if not separators:
            return [_Piece(text)]
        blank = f"[{re.escape(blanks)}]" if blanks else r"(?!)"
        border = f"{blank}*[{re.escape(others)}]{blank}*|{blank}+" if others else f"{blank}+"
        pieces: list[_Piece] = []
        place = 0
        for match in re.finditer(border, text):
            if match.start() > place or (match[0].strip(blanks) and match.start() == place):
                inner = text[place : match.start()]
                pieces.append(_Piece(inner, quoted=not inner))
            pieces.append(_BORDER)
            place = match.end()
        if place < len(text):
            pieces.append(_Piece(text[place:]))
        return pieces

    def value(self, name: str) -> str | None:
        """The value of a parameter; None where it is not set."""
        scope = self.scope
        if name.isdigit() and name != "0":
            place = int(name) - 1
            return scope.arguments[place] if place < len(scope.arguments) else None
        special = {
            "#": str(len(scope.arguments)),
            "?": str(scope.status.code),
            "@": " ".join(scope.arguments),
            "*": " ".join(scope.arguments),
            "!": scope.last_job,
            "0": "layerline",
            "-": "",
        }
        return special.get(name, scope.variables.get(name))

    async def _parameter(
        self, part: Parameter, *, quoted: bool, splits: bool
    ) -> str | list[_Piece]:
        name, operator = part.name, part.operator
        value = self.value(name)
        if operator[-1:] in ("-", "=", "?", "+") and operator:
            return await self._conditional(part, value, quoted=quoted, splits=splits)
        if value is None and NOUNSET in self.scope.options:
            message = f"{name}: unbound variable"
            raise ExpansionError(message)
        text = value or ""
        if operator == "len":
            return str(len(self.scope.arguments) if name in ("@", "*") else len(text))
        if operator:
            return await self._trimmed(text, part)
        return text

    async def _conditional(
        self, part: Parameter, value: str | None, *, quoted: bool, splits: bool
    ) -> str | list[_Piece]:
        """`-`, `=`, `?` and `+`: the word in the place of the value, or the other way round."""
        kind = part.operator[-1]
        missing = value is None or (part.operator.startswith(":") and not value)
        if kind == "+":
            missing = not missing
        elif not missing:
            return value or ""
        if not missing:
            return ""
        if kind == "?":
            message = f"{part.name}: {await self.text(part.word) or 'parameter null or not set'}"
            raise ExpansionError(message)
        if kind == "=":
            text = await self.text(part.word)
            self.scope.variables[part.name] = text
            return text
        pieces: list[_Piece] = []
        for inner in part.word.parts if part.word else ():
            for piece in await self._expand(inner, quoted=quoted, splits=splits):
                plain = splits and not (piece.quoted or piece.ends)
                pieces += self._split(piece.text) if plain else [piece]
        return pieces

    async def _trimmed(self, text: str, part: Parameter) -> str:
        """The value without the shortest or longest prefix or suffix that matches."""
        assert part.word is not None
        pattern = await self.pattern(part.word)
        lengths = range(len(text) + 1)
        if part.operator in ("#", "##"):
            ends = reversed(lengths) if part.operator == "##" else iter(lengths)
            return next((text[n:] for n in ends if pattern.match(text[:n])), text)
        begins = iter(lengths) if part.operator == "%%" else reversed(lengths)
        return next((text[:n] for n in begins if pattern.match(text[n:])), text)

    def _paths(self, field: list[_Piece]) -> list[str]:
        """The files that a field matches; the field itself where none does."""
        text = "".join(piece.text for piece in field)
        if not any(_MAGIC.search(piece.text) for piece in field if not piece.quoted):
            return [text]
        matching = glob.iglob(_glob(field), root_dir=self.workdir)  # noqa: PTH207 - as sh has it
        return sorted(matching) or [text]


def _glob(pieces: list[_Piece]) -> str:
    return "".join(glob.escape(piece.text) if piece.quoted else piece.text for piece in pieces)


def _fields(pieces: list[_Piece]) -> list[list[_Piece]]:
    """The pieces of each field; one that is empty is left out unless it was quoted."""
    fields: list[list[_Piece]] = []
    current: list[_Piece] = []
    for piece in (*pieces, _BORDER):
        if not piece.ends:
            current += [piece] if piece.text or piece.quoted else []
        elif current:
            fields.append(current)
            current = []
    return fields
