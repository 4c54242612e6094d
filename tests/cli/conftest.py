"""Modules in a home of their own, called as a user calls them; all calls share one store."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.settings import process_environ
from tests.cli.warm import warm_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.cli.warm import WarmProgram
    from tests.ordinary_user import OrdinaryUser

HERE = Path(__file__).parent
TOKEN = "topsecret42"
PROGRAM = "from layerline.cli.main import main; main()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a user stands, and the user's environment.

    With `warm`, calls are made in processes that need not start from nothing.
    """

    workdir: Path
    environ: Mapping[str, str]
    user: OrdinaryUser | None = None
    warm: WarmProgram | None = None

    def argv(self, *args: str) -> list[str]:
        argv = [sys.executable, "-c", PROGRAM, *args]
        return self.user.argv(argv) if self.user else argv

    def call(self, *args: str, stdin: bytes | None = None, **more: str) -> command.Finished:
        """Run `layerline` to its end; `more` are further variables."""
        environ = {**self.environ, **more}
        if self.warm is not None:
            return self.warm.call(args, env=environ, cwd=self.workdir, stdin=stdin)
        return command.run(
            self.argv(*args), env=environ, cwd=self.workdir, expect=None, stdin=stdin
        )

    def text(self, *args: str) -> str:
        """What a call that succeeds prints."""
        done = self.call("call", "-s", *args)
        assert done.status == 0, done.stderr.decode()
        return done.stdout.decode()

    def error(self, *args: str) -> str:
        """The first line of the error of a call that fails."""
        done = self.call("call", "-s", *args)
        assert done.status != 0
        lines = done.stderr.decode().splitlines()
        return next(line for line in lines if line.startswith("Error: "))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def environ(home: Path, bases: str) -> dict[str, str]:
    own = {
        "CI": "",  # of the machine that runs the tests; a person at a terminal has none
        "TOK": TOKEN,
        "LAYERLINE_STORE": str(home / "store"),
        "LAYERLINE_REGISTRY_MIRRORS": f"docker.io=http://{bases}",
        "PYTHONPATH": str(HERE.parents[1] / "src"),
    }
    return {**process_environ(), **own}


@pytest.fixture(scope="session")
def warm(environ: dict[str, str]) -> Iterator[WarmProgram]:
    with warm_program(environ) as program:
        yield program


@pytest.fixture
def extras(tmp_path: Path, environ: dict[str, str]) -> Place:
    """A copy of the module, committed in a repository of its own."""
    module = tmp_path / "extras"
    shutil.copytree(HERE / "extras", module, ignore=shutil.ignore_patterns("__pycache__"))
    (module / "old.txt").write_text("old")
    own = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for argv in (("init", "-q"), ("add", "."), ("commit", "-qm", "x")):
        command.run(["git", *own, *argv], cwd=module)
    return Place(workdir=module, environ=environ)
