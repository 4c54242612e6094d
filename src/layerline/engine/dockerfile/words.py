"""The arguments of an instruction as words, with their quotes, escapes and variables."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from layerline.errors import QueryError

_SPACE = " \t\v\f\r"
_BLANKS = re.compile(rf"[{_SPACE}]+")


def split_plain(text: str) -> list[str]:
    """Words between white space; quotes mean nothing."""
    return [word for word in _BLANKS.split(text) if word]


def split_quoted(text: str, escape: str) -> list[str]:
    """Words between white space that is neither quoted nor escaped."""
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


def json_words(text: str) -> tuple[str, ...] | None:
    """The words of the exec form, a JSON list; None for anything else, which is the shell form."""
    if not text.lstrip().startswith("["):
        return None
    try:
        words = json.loads(text)
    except ValueError:
        return None
    if not all(isinstance(word, str) for word in words):
        message = "when using JSON array syntax, arrays must be comprised of strings only"
        raise QueryError(message)
    return tuple(words)


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
        """Whether a flag without a value, or with true, is there."""
        value = self.one(name).lower()
        if value not in ("", "true", "false"):
            message = f"expecting boolean value for flag {name}, not: {value}"
            raise QueryError(message)
        return value == "true"


def split_flags(text: str, escape: str) -> tuple[tuple[str, ...], str]:
    """The flags before the arguments, unquoted, and the arguments."""
    flags: list[str] = []
    at = 0
    while text.startswith("--", at):
        end = _word_end(text, at, escape)
        word = _unquoted(text[at:end], escape)
        at = end
        while at < len(text) and text[at] in _SPACE:
            at += 1
        if word == "--":
            break
        flags.append(word)
    return tuple(flags), text[at:]


def _unquoted(word: str, escape: str) -> str:
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
