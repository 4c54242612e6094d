"""The arguments of an instruction: the exec form, pairs of names and values, flags."""

from __future__ import annotations

import re
from dataclasses import dataclass

from layerline.dockerfile_lexer import json_list, split_quoted
from layerline.errors import QueryError

_BLANKS = re.compile(r"[ \t\v\f\r]+")


def json_words(text: str) -> tuple[str, ...] | None:
    """The words of the exec form, a JSON list; None for anything else, which is the shell form."""
    items = json_list(text)
    if items is None:
        return None
    words = tuple(item for item in items if isinstance(item, str))
    if len(words) != len(items):
        message = "when using JSON array syntax, arrays must be comprised of strings only"
        raise QueryError(message)
    return words


def pairs(text: str, keyword: str, escape: str) -> tuple[tuple[str, str], ...]:
    """`NAME=value …`, or the old form `NAME value`, of ENV and LABEL."""
    words = split_quoted(text, escape)
    if not words:
        message = f"{keyword} requires at least one argument"
        raise QueryError(message)
    if "=" not in words[0]:
        name, *rest = _BLANKS.split(text, maxsplit=1)
        if not rest:
            message = f"{keyword} must have two arguments"
            raise QueryError(message)
        return ((name, rest[0]),)
    return tuple(_pair(word, keyword) for word in words)


def _pair(word: str, keyword: str) -> tuple[str, str]:
    name, separator, value = word.partition("=")
    if not separator:
        message = f"Syntax error - can't find = in {word!r}. Must be of the form: name=value"
        raise QueryError(message)
    if not name:
        message = f"{keyword} names can not be blank"
        raise QueryError(message)
    return name, value


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of an instruction with the values given; one without a value has `true`."""

    values: dict[str, list[str]]

    @classmethod
    def parse(cls, words: tuple[str, ...], allowed: tuple[str, ...]) -> Flags:
        """Read `--name=value` words; of the names allowed, those with a ? need no value."""
        optional = {name.removesuffix("?") for name in allowed if name.endswith("?")}
        names = {name.removesuffix("?") for name in allowed}
        values: dict[str, list[str]] = {}
        for word in words:
            name, separator, value = word.removeprefix("--").partition("=")
            if name not in names:
                message = f"unknown flag: --{name}"
                raise QueryError(message)
            if not separator and name not in optional:
                message = f"missing a value on flag: --{name}"
                raise QueryError(message)
            values.setdefault(name, []).append(value if separator else "true")
        return cls(values)

    def one(self, name: str) -> str:
        """The last value of a flag, empty if there is none."""
        return self.values.get(name, [""])[-1]

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a flag."""
        return tuple(self.values.get(name, ()))

    def is_set(self, name: str) -> bool:
        """Whether a flag is given without a value, or with `true`."""
        value = self.one(name).lower()
        if value not in ("", "true", "false"):
            message = f"expecting boolean value for flag {name}, not: {value}"
            raise QueryError(message)
        return value == "true"
