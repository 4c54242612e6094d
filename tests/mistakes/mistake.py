"""A row of the gallery: a wrong input, the exit code, and all that the user is shown."""

from __future__ import annotations

import shlex
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROWS = Path(__file__).parent / "rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One row. `files` and `environ` are what the user has; `situation` prepares what no file says.

    `message` is what goes to standard error after the progress. `near` is a right name that it
    suggests. `dagger` marks a message that is Dagger's, word for word: it need not say what to do.
    `traceback` marks a failure in the user's own code, whose log has the user's lines.
    `alone` runs the row in an interpreter of its own. `inside` is a call of the pipeline's
    functions, which the default run makes in one process, and `--slow` by the command as well.
    """

    subject: str
    name: str
    argv: str
    message: str
    exit: int = 1
    stdin: str = ""
    situation: str = ""
    near: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    dagger: bool = False
    traceback: bool = False
    alone: bool = False
    inside: bool = False
    slow: bool = False

    @property
    def id(self) -> str:
        """The name of the row's test."""
        return f"{self.subject}: {self.name}"

    def write_files(self, place: Path) -> None:
        """Write the user's files."""
        for path, text in self.files.items():
            file = place / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def arguments(self, values: Mapping[str, str]) -> list[str]:
        """The command line, with what varies put in."""
        return [each.format_map(values) for each in shlex.split(self.argv)]


def read_mistakes() -> Iterator[Mistake]:
    """Every row, by subject."""
    for path in sorted(ROWS.glob("*.toml")):
        document = tomllib.loads(path.read_text())
        for row in document["mistake"]:
            yield _mistake(path.stem.replace("-", " "), {**document.get("all", {}), **row})


def _mistake(subject: str, row: dict[str, Any]) -> Mistake:
    known = {each.name for each in fields(Mistake)}
    if unknown := row.keys() - known:
        message = f"{subject}: {row.get('name')}: unknown keys {sorted(unknown)}"
        raise ValueError(message)
    return Mistake(subject=subject, **{**row, "message": str(row.get("message", "")).strip("\n")})
