"""A place in the text of a script, and the errors that name it by line and column."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from layerline.cli.shell.grammar import ShellSyntaxError

if TYPE_CHECKING:
    from layerline.cli.shell.grammar import Redirect

OPERATORS = ("&&", "||", ";;", "<<-", "<<", ">>", "<&", ">&", "<>", ">|", *"|&;()<>\n")
BLANKS = " \t"
METACHARACTERS = frozenset("|&;()<> \t\n")


@dataclass(slots=True)
class HereDocument:
    """A `<<` whose text follows the line that it stands in."""

    delimiter: str
    strips_tabs: bool
    expands: bool
    redirect: Redirect


@dataclass(slots=True)
class Cursor:
    """The text, and the place where it is read; `name` is that of the file, in front of errors."""

    text: str
    name: str = ""
    place: int = 0
    pending: list[HereDocument] = field(default_factory=list)

    @property
    def char(self) -> str:
        """The next character; empty at the end."""
        return self.text[self.place : self.place + 1]

    def at(self, text: str) -> bool:
        """Whether a text comes next."""
        return self.text.startswith(text, self.place)

    def take(self, text: str) -> bool:
        """Go past a text if it comes next."""
        if self.at(text):
            self.place += len(text)
            return True
        return False

    def operator(self) -> str:
        """The operator that comes next, a newline among them; empty before a word or the end."""
        return next((found for found in OPERATORS if self.at(found)), "")

    def blanks(self) -> None:
        """Go past blanks, continued lines and a comment."""
        while True:
            if self.char and self.char in BLANKS:
                self.place += 1
            elif not self.take("\\\n"):
                break
        if self.char == "#":
            end = self.text.find("\n", self.place)
            self.place = len(self.text) if end < 0 else end

    def fail(self, message: str, place: int | None = None, *, incomplete: bool = False) -> NoReturn:
        """Raise the error that something is wrong at a place, by default at this one."""
        before = self.text[: self.place if place is None else place]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        shown = f"{self.name}:{line}:{column}: {message}" if self.name else ""
        raise ShellSyntaxError(shown or f"{line}:{column}: {message}", incomplete=incomplete)
