"""Recordings of modules played again: each is a module in a repository of its own.

Later calls and shell commands see what earlier ones wrote. What differs, and why, is in `REWORDED`,
`OWN_SDK` and `Replay.settle`, and nowhere else.
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
    from collections.abc import Mapping

    from tests.cli.warm import WarmProgram

HERE = Path(__file__).parent
# Our error in the place of Dagger's, which is that of a library.
REWORDED = {
    "huh: could not open a new TTY: open /dev/tty: no such device or address": (
        "the function returned changes, which cannot be confirmed without a terminal: use "
        "--auto-apply (-y) to apply them to the current directory, or -o PATH to save them"
    ),
}
# Of the SDK's sources, ours has what is installed; Dagger's also what its engine is built from.
OWN_SDK = {
    "LICENSE\nREADME.md\ncodegen\npyproject.toml\nruntime\nsrc\nuv.lock": (
        "README.md\npyproject.toml\nsrc"
    ),
}
_ID = re.compile(r"(?<=parameter id=')[^']+")


@dataclass(slots=True)
class Replay:
    """A committed module, and both sides' names for digests.

    `names` are ours for what the recording has: its home, its git server, a commit.
    """

    place: Place
    names: dict[str, str]
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
        wanted = block.output
        for theirs, ours in OWN_SDK.items():
            wanted = wanted.replace(theirs, ours)
        assert self.settle(done.stdout.decode()).rstrip("\n") == wanted

    def _call(self, recorded: Recorded) -> None:
        place = replace(self.place, workdir=self.place.workdir / recorded.workdir)
        line = recorded.line
        for theirs, ours in self.names.items():
            line = line.replace(theirs, ours)
        done = place.call(*shlex.split(line), stdin=recorded.stdin.encode() or None)
        stdout = self.ours.apply(self.settle(done.stdout.decode()))
        wanted = self.theirs.apply(without_trace(ends_without_newline(recorded.stdout)))
        errors = self.settle(done.stderr.decode())
        assert (stdout, done.status) == (wanted, recorded.code), errors
        reported = _comparable(error_lines(tuple(errors.splitlines())), recorded)
        assert reported == _comparable(recorded.errors, recorded)

    def settle(self, text: str) -> str:
        """The text with the names of the recording, and one name for both tools."""
        for theirs, ours in self.names.items():
            text = text.replace(ours, theirs)
        return text.replace("layerline", "dagger")


def make_replay(home: Path, name: str, environ: Mapping[str, str], warm: WarmProgram) -> Replay:
    """A copy of a recorded module, committed in a repository of its own."""
    module = home / name
    shutil.copytree(HERE / name, module, ignore=shutil.ignore_patterns("__pycache__"))
    git_server.commit(module)
    own = {**environ, "TOK": "s3cr3tvalue"}
    place = Place(workdir=module, environ=own, warm=warm)
    return Replay(place=place, names={"/home/user": str(home)})


def recorded_blocks(*names: str) -> list[object]:
    """The calls and shell commands of recordings, for `pytest.mark.parametrize`."""
    return [
        pytest.param(name, block, id=f"{name}-{block.number}-{block.line[:60]}")
        for name in names
        for block in parse_blocks(HERE / f"{name}.transcript.txt")
    ]


def _comparable(errors: tuple[str, ...], recorded: Recorded) -> list[str]:
    """The error, and what an exec wrote; ids are each engine's own, hints are ours."""
    end = next((n for n, x in enumerate(errors) if x.startswith(("Failed step", "Full log"))), None)
    lines = [_ID.sub("ID", line) for line in errors[:end]]
    if recorded.line.startswith("check"):  # which run in parallel
        return sorted(line.removeprefix("Error: ") for line in lines)
    return [
        REWORDED.get(line.removeprefix("Error: "), line).removeprefix("Error: ") for line in lines
    ]
