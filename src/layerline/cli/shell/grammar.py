"""The syntax tree of a script: the grammar of POSIX sh, without what other shells add to it.

See https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_10.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from layerline.errors import LayerlineError


class ShellSyntaxError(LayerlineError):
    """A script that cannot be parsed. `incomplete` says that more text could complete it."""

    def __init__(self, message: str, *, incomplete: bool = False) -> None:
        super().__init__(message)
        self.incomplete = incomplete


@dataclass(frozen=True, slots=True)
class Literal:
    """Text as it stands; `quoted` text is neither split nor a pattern."""

    text: str
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """`$name` or `${name<operator>word}`; the operator `len` is that of `${#name}`."""

    name: str
    operator: str = ""
    word: Word | None = None


@dataclass(frozen=True, slots=True)
class Substitution:
    """`$(script)`, or the same in backquotes."""

    script: Script


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`$((expression))`, whose text is expanded before it is computed."""

    expression: Word


@dataclass(frozen=True, slots=True)
class Quoted:
    """What stands in double quotes."""

    parts: tuple[Part, ...]


Part: TypeAlias = "Literal | Parameter | Substitution | Arithmetic | Quoted"


@dataclass(frozen=True, slots=True)
class Word:
    """The parts of one word; `begin` and `end` are its place in the script."""

    parts: tuple[Part, ...]
    begin: int = 0
    end: int = 0

    @property
    def literal(self) -> str | None:
        """The text of a word that needs no expansion; None for any other."""
        texts = [part.text for part in self.parts if isinstance(part, Literal)]
        return "".join(texts) if len(texts) == len(self.parts) else None


@dataclass(slots=True)
class Redirect:
    """`descriptor operator target`.

    The target of `<<` is the text of the here-document, which the parser reads after the line.
    """

    descriptor: int
    operator: str
    target: Word


@dataclass(frozen=True, slots=True)
class Simple:
    """Assignments, and a command with its arguments."""

    assignments: tuple[tuple[str, Word], ...]
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """`a | b | c`."""

    stages: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class AndOr:
    """`a && b` or `a || b`."""

    left: Statement
    operator: str
    right: Statement


@dataclass(frozen=True, slots=True)
class Group:
    """`{ …; }`, or a subshell in brackets."""

    body: Script
    subshell: bool = False


@dataclass(frozen=True, slots=True)
class If:
    """Conditions with what follows from them; the script without a condition is `else`."""

    branches: tuple[tuple[Script | None, Script], ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """`while`, or `until`."""

    condition: Script
    body: Script
    until: bool = False


@dataclass(frozen=True, slots=True)
class For:
    """`for name in words`; without words, over the positional parameters."""

    name: str
    words: tuple[Word, ...] | None
    body: Script


@dataclass(frozen=True, slots=True)
class Case:
    """`case word in` patterns with what is run for the first that matches."""

    word: Word
    items: tuple[tuple[tuple[Word, ...], Script], ...]


@dataclass(frozen=True, slots=True)
class FunctionDefinition:
    """`name() body`."""

    name: str
    body: Statement


Command: TypeAlias = (
    "Simple | Pipeline | AndOr | Group | If | Loop | For | Case | FunctionDefinition"
)


@dataclass(frozen=True, slots=True)
class Statement:
    """A command with its redirections; `begin` and `end` are its place in the script."""

    command: Command
    redirects: tuple[Redirect, ...] = ()
    negated: bool = False
    background: bool = False
    begin: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Script:
    """Statements in order."""

    statements: tuple[Statement, ...] = ()
