"""System calls that fail: EIO and ENOSPC, once and for ever, and SIGKILL (line 10 of issue 15).

After each trial the same command succeeds with the same result, the store is sound, nothing is left
over or half-made, and every message and exit code is a documented one. The names are A2
and A9 in reference/reliability.md.
"""

from __future__ import annotations

import datetime
import platform
import shutil
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.settings import process_environ
from tests.conftest import SOURCE
from tests.faults.trials import COMMANDS, FAULTS, Injector, Trial, make_sources

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.privileged,
    pytest.mark.skipif(
        platform.machine() != "x86_64", reason="the injector knows the system calls of x86-64"
    ),
]
# What comes later in another run than in the one that was counted, for its threads' sake.
SPARE = 20
# What the store holds when a command starts: the image is packed from layers that exist.
BEFORE = {"image": ("directory",), "prune": ("directory", "image"), "check": ("directory", "image")}


class Trials:
    """Trials of one command; each has a directory of its own."""

    def __init__(self, place: Path, name: str, injector: Injector) -> None:
        self._place = place
        self._name = name
        self._injector = injector
        self._sources = place / "sources"
        make_sources(self._sources)
        for before in BEFORE.get(name, ()):
            assert injector.run(self._sources, *COMMANDS[before]).status == 0
        for target in self._sources.glob("out*"), self._sources.glob("image*"):
            command.run(["rm", "-rf", *target])
        first = self._new(0)
        self.calls = first.count()
        self.expected = first.targets()
        assert first.problems == []

    def _new(self, number: int) -> Trial:
        place = self._place / f"trial-{number}"
        command.run(["cp", "-a", self._sources, place])
        return Trial(place, self._name, self._injector)

    def run(self, at: int, kind: str, *, for_ever: bool) -> list[str]:
        """What is wrong after a trial; None of it may be."""
        trial = self._new(at)
        fault = {"at": at, "kind": kind, "for_ever": for_ever}
        call = trial.attempt(fault, self.expected)
        found = [f"{fault} {call}: {problem}" for problem in trial.problems]
        if not found:
            shutil.rmtree(trial.place)
        return found


@pytest.fixture
def injector(overlay: None, runc: Path, tmp_path: Path) -> Iterator[Injector]:  # noqa: ARG001
    environ = process_environ()
    own = {"PATH": environ["PATH"], "PYTHONPATH": f"{SOURCE}:{SOURCE.parent}"}
    injector = Injector(own, tmp_path)
    yield injector
    injector.close()


def test_a_sample_of_the_calls(injector: Injector, tmp_path: Path) -> None:
    trials = Trials(tmp_path, "directory", injector)
    for number, (kind, for_ever) in enumerate(FAULTS, 1):
        at = len(trials.calls) * number // (len(FAULTS) + 1)
        assert trials.run(at, kind, for_ever=for_ever) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_every_call_once(injector: Injector, tmp_path: Path, name: str) -> None:
    """The kinds of faults rotate: after five nights each call has met each."""
    trials = Trials(tmp_path, name, injector)
    today = datetime.datetime.now(tz=datetime.UTC).date().toordinal()
    found = []
    for at in range(1, len(trials.calls) + SPARE):
        kind, for_ever = FAULTS[(at + today) % len(FAULTS)]
        found += trials.run(at, kind, for_ever=for_ever)
    print(f"{name}: {len(trials.calls)} calls")
    assert found == []
