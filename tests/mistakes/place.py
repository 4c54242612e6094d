"""Where mistakes are made: a home and a store for all of them, a directory for each."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import command
from layerline.settings import process_environ
from tests.cli.warm import warm_program
from tests.mistakes.shown import Shown
from tests.mistakes.situations import SITUATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.cli.warm import WarmProgram
    from tests.mistakes.mistake import Mistake

SOURCE = Path(__file__).parents[2] / "src"
# What a person's machine says, and what would be in the way.
_KEPT = ("PATH", "LANG", "LC_ALL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A working directory, the user's environment, and what runs the command line.

    `values` are put into the command lines, files and variables of rows. `prefix` is what the
    command line is started with, as another user.
    """

    workdir: Path
    environ: Mapping[str, str]
    warm: WarmProgram
    values: Mapping[str, str] = field(default_factory=dict)
    prefix: Sequence[str] = ()

    @property
    def store(self) -> Path:
        """The store of this user."""
        return Path(self.environ["LAYERLINE_STORE"])

    @property
    def temporary(self) -> Path:
        """Where this user's temporary files are."""
        return Path(self.environ["TMPDIR"])

    def with_environ(self, **environ: str) -> Place:
        """The same with more variables."""
        return replace(self, environ={**self.environ, **environ})

    def with_values(self, **values: str) -> Place:
        """The same with more that varies."""
        return replace(self, values={**self.values, **values})

    def as_user(self, prefix: Sequence[str], environ: Mapping[str, str]) -> Place:
        """The same for another user, whose command line starts with `prefix`."""
        return replace(self, prefix=prefix, environ=environ)

    def make(self, mistake: Mistake) -> Shown:
        """Make a mistake, and take down what is shown."""
        values = {"here": str(self.workdir), "store": str(self.store), **self.values}
        environ = dict(self.environ)
        environ.update((name, text.format_map(values)) for name, text in mistake.environ.items())
        argv, stdin = mistake.arguments(values), mistake.stdin.encode()
        if mistake.alone or self.prefix:
            program = [*self.prefix, sys.executable, "-m", "layerline", *argv]
            done = command.run(program, env=environ, cwd=self.workdir, stdin=stdin, expect=None)
        else:
            done = self.warm.call(argv, env=environ, cwd=self.workdir, stdin=stdin)
        places = {name: text for name, text in values.items() if text.startswith("/")}
        return Shown.of(done.status, done.stdout, done.stderr, places)


@contextlib.contextmanager
def shared_place(home: Path) -> Iterator[Place]:
    """A home with an empty store, and a program that has imported the command line."""
    kept = {name: value for name, value in process_environ().items() if name in _KEPT}
    (home / "tmp").mkdir()
    environ = {
        **kept,
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "LAYERLINE_STORE": str(home / "store"),
        "PYTHONPATH": f"{SOURCE}:{SOURCE.parent}",
    }
    with warm_program(environ) as warm:
        yield Place(workdir=home, environ=environ, warm=warm, values={"home": str(home)})


@contextlib.contextmanager
def prepared(shared: Place, mistake: Mistake) -> Iterator[Place]:
    """The place of one mistake, in its situation; all of it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="mistake-") as name, contextlib.ExitStack() as stack:
        workdir = Path(name, "here")
        workdir.mkdir()
        place = replace(shared, workdir=workdir)
        if mistake.situation:
            place = stack.enter_context(SITUATIONS[mistake.situation](place))
        mistake.write_files(workdir)
        yield place
