"""What commands run with: variables and functions, streams, and how they end."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from layerline.errors import LayerlineError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from layerline.cli.shell.grammar import Statement

ERREXIT, NOUNSET, PIPEFAIL = "errexit", "nounset", "pipefail"


@dataclass(frozen=True, slots=True)
class Status:
    """How a command ended; `error` is what to tell the user if nothing handles the failure."""

    code: int = 0
    error: LayerlineError | None = None

    @classmethod
    def of(cls, error: LayerlineError) -> Status:
        """The status of a command that failed."""
        return cls(error.exit_code, error)


class ExitShell(Exception):
    """The end of a shell or a subshell; `asked` says that the utility `exit` asked for it."""

    def __init__(self, status: Status, *, asked: bool = False) -> None:
        super().__init__()
        self.status = status
        self.asked = asked


class LeaveLoop(Exception):
    """`break` or `continue` of a number of loops."""

    def __init__(self, *, again: bool, levels: int) -> None:
        super().__init__()
        self.again = again
        self.levels = levels


class ReturnFromFunction(Exception):
    """`return` of a function."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


class ExpansionError(LayerlineError):
    """A word that cannot be expanded; it ends the shell."""


@dataclass(slots=True)
class Scope:
    """The variables, functions and options of a shell; a subshell has a copy.

    `guarded` is above 0 where a failure is a condition, as in `if` and before `&&`.
    """

    variables: dict[str, str]
    options: frozenset[str] = frozenset({ERREXIT, NOUNSET, PIPEFAIL})
    functions: dict[str, Statement] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    status: Status = field(default_factory=Status)
    substituted: Status = field(default_factory=Status)
    last_job: str = ""
    guarded: int = 0

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Scope:
        """The scope of a new shell."""
        return cls(dict(environ))

    def subshell(self) -> Scope:
        """A copy, whose changes stay its own."""
        return replace(
            self,
            variables=dict(self.variables),
            functions=dict(self.functions),
            arguments=list(self.arguments),
        )


@dataclass(slots=True)
class Input:
    """Standard input that is a pipe or a file: whoever reads it first gets all."""

    text: str

    def read(self) -> str:
        """What has not been read yet."""
        text, self.text = self.text, ""
        return text

    def line(self) -> str:
        """One line with its newline, as far as there is one."""
        head, newline, self.text = self.text.partition("\n")
        return head + newline


class Sink(Protocol):
    """Where a command writes."""

    async def write(self, text: str) -> None:
        """Take what a command wrote."""


@dataclass(slots=True)
class Capture:
    """Keeps what is written."""

    text: str = ""

    async def write(self, text: str) -> None:
        """Keep it."""
        self.text += text


@dataclass(frozen=True, slots=True)
class Printed:
    """Shows what is written once `resolve` has put values in the place of references."""

    resolve: Callable[[str], Awaitable[str]]
    show: Callable[[str], object]

    async def write(self, text: str) -> None:
        """Show it; the error of a value that cannot be had is that of the command."""
        self.show(await self.resolve(text))


@dataclass(frozen=True, slots=True)
class FileSink:
    """Appends what is written to a file."""

    path: Path
    resolve: Callable[[str], Awaitable[str]]

    async def write(self, text: str) -> None:
        """Append it."""
        resolved = await self.resolve(text)
        with self.path.open("a") as file:
            file.write(resolved)


class Nowhere:
    """A closed stream."""

    async def write(self, text: str) -> None:
        """Drop it."""


@dataclass(frozen=True, slots=True)
class Streams:
    """The standard streams of a command; without a pipe or a file, `stdin` is None."""

    stdin: Input | None
    stdout: Sink
    stderr: Sink
