"""Flags as the Dagger CLI has them: values parsed as Go parses them, with Go's error texts.

Invariant: a flag set knows its flags in any order, and lists them by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from layerline.engine.module.naming import kebab
from layerline.errors import UsageError
from layerline.suggestion import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_INTEGER = re.compile(r"[+-]?(0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO]?[0-7_]*|[1-9][0-9_]*|0)\Z")
_FLOAT = re.compile(
    r"[+-]?(\d[\d_]*\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf(inity)?|nan)\Z", re.IGNORECASE
)
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_INT_BITS = 63
_QUOTES = str.maketrans("", "", "\"'`")


class BadValue(ValueError):
    """A text that does not parse as the flag's type; the message follows the flag's name."""


@dataclass(slots=True, kw_only=True)
class Flag:
    """A flag. `parse` turns a text into a value, or items when `repeated`; help shows `default`.

    `bare` is the text that stands for the flag without a value; None when it needs one. `refusal`
    is why a flag of the Dagger CLI is not supported.
    """

    name: str
    kind: str
    parse: Callable[[str], Any]
    usage: str = ""
    short: str = ""
    default: str = ""
    bare: str | None = None
    repeated: bool = False
    required: bool = False
    group: str = "Options"
    hidden: bool = False
    refusal: str = ""
    value: Any = None
    changed: bool = False

    def set(self, text: str) -> None:
        """Set a value from the command line; repeated flags accumulate."""
        try:
            value = self.parse(text)
        except BadValue as exc:
            shown = f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"
            message = f'invalid argument "{text}" for "{shown}" flag: {exc}'
            raise UsageError(message) from exc
        if self.refusal and value:
            message = f"--{self.name} is not supported: {self.refusal}"
            raise UsageError(message)
        if self.repeated:
            self.value = [*(self.value if self.changed else ()), *value]
        elif self.kind == "count":
            self.value = (self.value or 0) + 1 if text == "+1" else value
        else:
            self.value = value
        self.changed = True

    @property
    def shows_default(self) -> bool:
        """Whether help shows the default: not where it is the zero of its type."""
        if self.kind == "string":
            return self.default != ""
        return self.default not in ("", "0", "false", "[]", "<nil>")


@dataclass(slots=True)
class FlagSet:
    """The flags of one command; `parents` are those it inherits."""

    parents: tuple[FlagSet, ...] = ()
    flags: dict[str, Flag] = field(default_factory=dict)

    def add(self, flag: Flag) -> Flag:
        """Add a flag under its name."""
        self.flags[flag.name] = flag
        return flag

    def visible(self) -> list[Flag]:
        """The own flags that help shows, by name."""
        return [flag for _, flag in sorted(self.flags.items()) if not flag.hidden]

    def find(self, name: str) -> Flag | None:
        """A flag by any spelling of its name, own or inherited."""
        wanted = kebab(name)
        for flags in (self, *self.parents):
            if wanted in flags.flags:
                return flags.flags[wanted]
        return None

    def parse(self, argv: Sequence[str]) -> list[str]:
        """Take the leading flags; the rest begins with the first argument that is not a flag."""
        rest = list(argv)
        while rest:
            arg = rest[0]
            if arg == "--":
                return rest[1:]
            if not arg.startswith("-") or arg == "-":
                return rest
            del rest[0]
            self.take(arg, rest)
        return rest

    def take(self, arg: str, rest: list[str]) -> None:
        """Parse one argument that is a flag; its value may be taken from `rest`."""
        if arg.startswith("--"):
            self._long(arg, rest)
        else:
            self._short(arg, rest)

    def require(self) -> None:
        """Raise a UsageError when required flags are missing."""
        missing = [flag.name for flag in self.visible() if flag.required and not flag.changed]
        if missing:
            names = '", "'.join(missing)
            message = f'required flag(s) "{names}" not set'
            raise UsageError(message)

    def _long(self, arg: str, rest: list[str]) -> None:
        name, equals, text = arg[2:].partition("=")
        if not name or name.startswith("-"):
            message = f"bad flag syntax: {arg}"
            raise UsageError(message)
        flag = self.find(name)
        if flag is None:
            message = f"unknown flag: --{kebab(name)}"
            known = [each for flags in (self, *self.parents) for each in flags.flags]
            message += did_you_mean(kebab(name), known, prefix="--")
            raise UsageError(message)
        if equals:
            flag.set(text)
        elif flag.bare is not None:
            flag.set(flag.bare)
        elif rest:
            flag.set(rest.pop(0))
        else:
            message = f"flag needs an argument: --{flag.name}"
            raise UsageError(message)

    def _short(self, arg: str, rest: list[str]) -> None:
        letters = arg[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            flag = self.by_letter(letter)
            if flag is None:
                message = f"unknown shorthand flag: '{letter}' in {arg}"
                raise UsageError(message)
            if letters.startswith("="):
                flag.set(letters[1:])
                return
            if flag.bare is not None:
                flag.set(flag.bare)
            elif letters:
                flag.set(letters)
                return
            elif rest:
                flag.set(rest.pop(0))
            else:
                message = f"flag needs an argument: '{letter}' in {arg}"
                raise UsageError(message)

    def by_letter(self, letter: str) -> Flag | None:
        """A flag by its short name, own or inherited."""
        for flags in (self, *self.parents):
            for flag in flags.flags.values():
                if flag.short == letter:
                    return flag
        return None


def parse_int(text: str) -> int:
    """Go's strconv.ParseInt(text, 0, 64)."""
    return _integer(text, function="ParseInt")


def parse_int_item(text: str) -> int:
    """Go's strconv.Atoi, for the items of a list."""
    return _integer(text, function="Atoi")


def parse_float(text: str) -> float:
    """Go's strconv.ParseFloat."""
    if not _FLOAT.match(text) or "_" in text:
        raise BadValue(_syntax("ParseFloat", text))
    return float(text)


def parse_bool(text: str) -> bool:
    """Go's strconv.ParseBool."""
    if text not in _TRUE | _FALSE:
        raise BadValue(_syntax("ParseBool", text))
    return text in _TRUE


def parse_list(item: Callable[[str], Any], *, unquote: bool = False) -> Callable[[str], list[Any]]:
    """A parser for comma-separated items; `unquote` takes all quote characters away first."""

    def parse(text: str) -> list[Any]:
        plain = text.translate(_QUOTES) if unquote else text
        return [item(part.strip() if unquote else part) for part in split_csv(plain)]

    return parse


def split_csv(text: str) -> list[str]:
    """The fields of one CSV record; quotes work as Go's encoding/csv has them."""
    if not text:
        return []
    fields: list[str] = []
    rest: str | None = text
    while rest is not None:
        if rest.startswith('"'):
            value, rest = _quoted_field(rest)
        else:
            value, comma, after = rest.partition(",")
            if '"' in value:
                where = f"parse error on line 1, column {value.index(chr(34)) + 1}"
                message = f'{where}: bare " in non-quoted-field'
                raise BadValue(message)
            rest = after if comma else None
        fields.append(value)
    return fields


def _quoted_field(text: str) -> tuple[str, str | None]:
    out: list[str] = []
    place = 1
    while place < len(text):
        if text[place] != '"':
            out.append(text[place])
        elif text[place + 1 : place + 2] == '"':
            out.append('"')
            place += 1
        else:
            after = text[place + 1 :]
            if after and not after.startswith(","):
                break
            return "".join(out), after[1:] if after else None
        place += 1
    msg = f'parse error on line 1, column {place + 1}: extraneous or missing " in quoted-field'
    raise BadValue(msg)


def _integer(text: str, *, function: str) -> int:
    if not _INTEGER.match(text):
        raise BadValue(_syntax(function, text))
    digits = text.replace("_", "")
    octal = re.fullmatch(r"([+-]?)0([0-7]+)", digits)
    value = (
        int(octal[1] + octal[2], 8)
        if octal and function == "ParseInt"
        else int(digits, 0 if not octal else 10)
    )
    if not -(2**_INT_BITS) <= value < 2**_INT_BITS:
        msg = f'strconv.{function}: parsing "{text}": value out of range'
        raise BadValue(msg)
    return value


def _syntax(function: str, text: str) -> str:
    return f'strconv.{function}: parsing "{text}": invalid syntax'
