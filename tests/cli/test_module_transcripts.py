"""The recordings of modules, their checks and what manages them, played again in order.

Each is a module in a repository of its own; later calls and shell commands see what earlier ones
wrote. What differs, and why, is in `REWORDED` and `_settled`, and nowhere else.
"""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from tests import git_server
from tests.cli.conftest import Place
from tests.cli.transcript import (
    Classes,
    Recorded,
    ShellCommand,
    ends_without_newline,
    error_lines,
    parse_blocks,
    without_trace,
)

if TYPE_CHECKING:
    from tests.cli.warm import WarmProgram

pytestmark = [pytest.mark.privileged, pytest.mark.network]

HERE = Path(__file__).parent
RECORDINGS = {"checks": "checks", "deps": "deps"}
# Our error in the place of Dagger's, which is that of a library.
REWORDED = {
    "huh: could not open a new TTY: open /dev/tty: no such device or address": (
        "the function returned changes, which cannot be confirmed without a terminal: use "
        "--auto-apply (-y) to apply them to the current directory, or -o PATH to save them"
    ),
}
_ID = re.compile(r"(?<=parameter id=')[^']+")


@dataclass(slots=True)
class Replay:
    """A committed module in a home, and both sides' names for digests."""

    home: Path
    place: Place
    ours: Classes = field(default_factory=Classes)
    theirs: Classes = field(default_factory=Classes)

    def play(self, block: Recorded | ShellCommand) -> None:
        """Do what was recorded, and compare what came of it."""
        if isinstance(block, ShellCommand):
            self._run(block)
        else:
            self._call(block)

    def _run(self, block: ShellCommand) -> None:
        environ = {**self.place.environ, "LC_ALL": "C.UTF-8"}
        done = command.run(
            ["sh", "-c", f"exec 2>&1; {block.line}"],
            cwd=self.place.workdir,
            env=environ,
            expect=None,
        )
        assert self._settled(done.stdout.decode()).rstrip("\n") == block.output

    def _call(self, recorded: Recorded) -> None:
        place = replace(self.place, workdir=self.place.workdir / recorded.workdir)
        done = place.call(*shlex.split(recorded.line), stdin=recorded.stdin.encode() or None)
        stdout = self.ours.apply(self._settled(done.stdout.decode()))
        wanted = self.theirs.apply(without_trace(ends_without_newline(recorded.stdout)))
        errors = self._settled(done.stderr.decode())
        assert (stdout, done.status) == (wanted, recorded.code), errors
        ours = _comparable(error_lines(tuple(errors.splitlines())), recorded)
        assert ours == _comparable(recorded.errors, recorded)

    def _settled(self, text: str) -> str:
        """The text with one home and one name for both tools."""
        return text.replace(str(self.home), "/home/user").replace("layerline", "dagger")


def make_replay(home: Path, name: str, environ: dict[str, str], warm: WarmProgram) -> Replay:
    """A copy of a recorded module, committed in a repository of its own."""
    module = home / name
    shutil.copytree(HERE / name, module, ignore=shutil.ignore_patterns("__pycache__"))
    git_server.commit(module)
    own = {**environ, "TOK": "s3cr3tvalue"}
    return Replay(home=home, place=Place(workdir=module, environ=own, warm=warm))


@pytest.fixture(scope="module")
def replays(
    tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str], warm: WarmProgram
) -> dict[str, Replay]:
    return {
        name: make_replay(tmp_path_factory.mktemp(name), module, environ, warm)
        for name, module in RECORDINGS.items()
    }


def recorded_blocks() -> list[object]:
    return [
        pytest.param(name, block, id=f"{name}-{block.number}-{block.line[:60]}")
        for name in RECORDINGS
        for block in parse_blocks(HERE / f"{name}.transcript.txt")
    ]


@pytest.mark.parametrize(("name", "block"), recorded_blocks())
def test_it_goes_as_recorded(
    replays: dict[str, Replay], name: str, block: Recorded | ShellCommand
) -> None:
    replays[name].play(block)


def _comparable(errors: tuple[str, ...], recorded: Recorded) -> list[str]:
    """The error, and what an exec wrote; ids are each engine's own, hints are ours."""
    end = next((n for n, x in enumerate(errors) if x.startswith(("Failed step", "Full log"))), None)
    lines = [_ID.sub("ID", line) for line in errors[:end]]
    if recorded.line.startswith("check"):  # which run in parallel
        return sorted(line.removeprefix("Error: ") for line in lines)
    return [
        REWORDED.get(line.removeprefix("Error: "), line).removeprefix("Error: ") for line in lines
    ]
