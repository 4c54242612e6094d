"""Modules that depend on modules, called as they were when the Dagger CLI was recorded."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from tests.cli.conftest import Place
from tests.cli.transcript import (
    Classes,
    Recorded,
    ends_without_newline,
    error_lines,
    parse_transcript,
    without_trace,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.privileged, pytest.mark.network]

HERE = Path(__file__).parent
OWN = ("-c", "user.name=a", "-c", "user.email=a@b.c")
_SHELL = re.compile(r"\((.*?)\)(?=\(|$)", re.DOTALL)
_ID = re.compile(r"(?<=parameter id=')[^']+")


@dataclass(slots=True)
class Replay:
    """A committed module in a home, and both sides' names for digests."""

    home: Path
    place: Place
    ours: Classes = field(default_factory=Classes)
    theirs: Classes = field(default_factory=Classes)


@pytest.fixture(scope="module")
def replays(tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str]) -> dict[str, Replay]:
    home = tmp_path_factory.mktemp("dependencies")
    found: dict[str, Replay] = {}
    for name in ("deps",):
        module = home / name
        shutil.copytree(HERE / name, module, ignore=shutil.ignore_patterns("__pycache__"))
        for argv in (("init", "-q"), ("add", "."), ("commit", "-qm", "x")):
            command.run(["git", *OWN, *argv], cwd=module)
        own = {**environ, "TOK": "s3cr3tvalue"}
        found[name] = Replay(home=home, place=Place(workdir=module, environ=own))
    return found


def recorded_calls() -> Iterator[object]:
    for name in ("deps",):
        for call in parse_transcript(HERE / f"{name}.transcript.txt"):
            yield pytest.param(name, call, id=f"{name}-{call.number}-{call.line}")


@pytest.mark.parametrize(("name", "call"), list(recorded_calls()))
def test_the_recorded_answer(replays: dict[str, Replay], name: str, call: Recorded) -> None:
    replay = replays[name]
    for line in _SHELL.findall(call.note):
        command.run(["sh", "-c", line], cwd=replay.place.workdir)
    place = replace(replay.place, workdir=replay.place.workdir / call.workdir)
    done = place.call(*shlex.split(call.line), stdin=call.stdin.encode() or None)
    stdout = replay.ours.apply(done.stdout.decode())
    wanted = replay.theirs.apply(without_trace(ends_without_newline(call.stdout)))
    assert (stdout, done.status) == (wanted, call.code), done.stderr.decode()
    errors = done.stderr.decode().replace(str(replay.home), "/home/user").splitlines()
    assert _comparable(error_lines(tuple(errors))) == _comparable(call.errors)


def _comparable(errors: tuple[str, ...]) -> list[str]:
    """The error, and what an exec wrote; ids are each engine's own, hints are ours."""
    end = next((n for n, x in enumerate(errors) if x.startswith(("Failed step", "Full log"))), None)
    return [_ID.sub("ID", line) for line in errors[:end]]
