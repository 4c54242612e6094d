"""Variables, quotes and escapes in the words of a Dockerfile, as BuildKit's lexer reads them.

Unknown variables are empty. A piece of text is plain, where white space separates words, or quoted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#?$!-]")
_SPACE = " \t\v\f\r\n"


def expand(text: str, variables: Mapping[str, str], *, escape: str = "\\") -> str:
    """The text with variables replaced and quotes taken away."""
    return _Reader(text, variables, escape=escape).all()


def expand_words(text: str, variables: Mapping[str, str], *, escape: str = "\\") -> list[str]:
    """The words of the text; white space from an unquoted variable separates words too."""
    words: list[str] = []
    word = ""
    for piece, quoted in _Reader(text, variables, escape=escape).pieces():
        for char in piece:
            if quoted or char not in _SPACE:
                word += char
                continue
            words.append(word)
            word = ""
    return [word for word in (*words, word) if word]


def expand_document(text: str, variables: Mapping[str, str]) -> str:
    """The text of a heredoc: variables are replaced, quotes stay."""
    return _Reader(text, variables, escape="\\", quotes=False).all()


@dataclass(slots=True, eq=False)
class _Reader:
    text: str
    variables: Mapping[str, str]
    escape: str
    quotes: bool = True
    at: int = 0

    def all(self) -> str:
        """Everything, as one text."""
        return "".join(piece for piece, _ in self.pieces())

    def pieces(self) -> list[tuple[str, bool]]:
        """Everything, as pieces that are quoted or not."""
        return self._until("")

    def _until(self, stop: str, *, raw: bool = False) -> list[tuple[str, bool]]:
        """The pieces up to a character, which is passed over; `raw` keeps escapes as they are."""
        found: list[tuple[str, bool]] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == stop:
                self.at += 1
                return found
            found.append(self._piece(char, raw=raw))
        if stop:
            message = f"syntax error: missing {stop!r} in {self.text!r}"
            raise QueryError(message)
        return found

    def _piece(self, char: str, *, raw: bool) -> tuple[str, bool]:
        if char == "$":
            return self._dollar(), False
        self.at += 1
        if self.quotes and char == "'":
            return self._single(), True
        if self.quotes and char == '"':
            return self._double(), True
        if char == self.escape:
            escaped = self._next()
            return (char + escaped if raw else escaped), True
        return char, False

    def _next(self) -> str:
        char = self.text[self.at : self.at + 1]
        self.at += 1
        return char

    def _single(self) -> str:
        end = self.text.find("'", self.at)
        if end < 0:
            message = "unexpected end of statement while looking for matching single-quote"
            raise QueryError(message)
        inside = self.text[self.at : end]
        self.at = end + 1
        return inside

    def _double(self) -> str:
        inside = ""
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "$":
                inside += self._dollar()
                continue
            self.at += 1
            if char == '"':
                return inside
            following = self.text[self.at : self.at + 1]
            if char == self.escape and following in ('"', "$", self.escape):
                char = self._next()
            inside += char
        message = "unexpected end of statement while looking for matching double-quote"
        raise QueryError(message)

    def _dollar(self) -> str:
        self.at += 1
        if self.text.startswith("{", self.at):
            self.at += 1
            return self._read_braces()
        name = self._name()
        return self.variables.get(name, "") if name else "$"

    def _name(self) -> str:
        match = _NAME.match(self.text, self.at)
        if match is None:
            return ""
        self.at = match.end()
        return match.group()

    def _read_braces(self) -> str:
        name = self._name()
        modifier = self._next()
        if modifier == "}":
            return self.variables.get(name, "")
        if modifier == "/":
            return self._substitute(self.variables.get(name, ""))
        null_counts = modifier == ":"
        if null_counts:
            modifier = self._next()
        if not modifier:
            message = f"syntax error: missing '}}' in {self.text!r}"
            raise QueryError(message)
        if modifier not in "+-?#%":
            message = f"unsupported modifier ({':' * null_counts}{modifier}) in substitution"
            raise QueryError(message)
        word = "".join(piece for piece, _ in self._until("}", raw=modifier in "#%"))
        value = self.variables.get(name)
        if modifier in "#%":
            return _trim(value or "", modifier, word)
        missing = value is None or (null_counts and not value)
        return self._alternative(name, modifier, word, None if missing else value)

    def _alternative(self, name: str, modifier: str, word: str, value: str | None) -> str:
        if modifier == "+":
            return "" if value is None else word
        if value is not None:
            return value
        if modifier == "?":
            message = f"{name}: {word or 'is not allowed to be unset'}"
            raise QueryError(message)
        return word

    def _substitute(self, value: str) -> str:
        everywhere = self.text.startswith("/", self.at)
        self.at += everywhere
        pattern = "".join(piece for piece, _ in self._until("/", raw=True))
        replacement = "".join(piece for piece, _ in self._until("}", raw=True))
        count = 0 if everywhere else 1
        return _pattern(pattern).sub(lambda _: replacement, value, count=count)


def _trim(value: str, modifier: str, word: str) -> str:
    """`#` and `%`: the shortest beginning or end that matches is cut off; doubled, the longest."""
    longest = word.startswith(modifier)
    pattern = _pattern(word.removeprefix(modifier))
    lengths = range(len(value) + 1)
    for length in reversed(lengths) if longest else lengths:
        cut = length if modifier == "#" else len(value) - length
        head, tail = value[:cut], value[cut:]
        if modifier == "#" and pattern.fullmatch(head):
            return tail
        if modifier == "%" and pattern.fullmatch(tail):
            return head
    return value


def _pattern(glob: str) -> re.Pattern[str]:
    """A shell pattern with stars, question marks and backslashes."""
    pieces = re.findall(r"\\.|.", glob, re.DOTALL)
    wild = {"*": ".*", "?": "."}
    texts = [wild.get(piece) or re.escape(piece[-1]) for piece in pieces]
    return re.compile("".join(texts), re.DOTALL)
