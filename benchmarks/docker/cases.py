"""What is measured, in which order, and how much faster Layerline has to be."""

from __future__ import annotations

import enum
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.registry import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.docker.repository import Repository
    from benchmarks.docker.sides import Side

_MB, _GB = 10**6, 10**9


class Case(enum.Enum):
    """What is asked of a side: the words of the table, and the ratio that is wanted."""

    FIRST_EXPORT = ("first build and export", 2.5)
    FIRST_PUSH = ("first build and push", 5.0)
    CHANGED_EXPORT = ("one package changed, export", 3.0)
    CHANGED_PUSH = ("one package changed, push", 6.0)
    AGAIN_EXPORT = ("nothing changed, export", 20.0)

    @property
    def words(self) -> str:
        """How the table calls it."""
        return self.value[0]

    @property
    def target(self) -> float:
        """How many times faster Layerline has to be."""
        return self.value[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long something took, and how busy the machine was: its load when that began and ended."""

    seconds: float
    load: tuple[float, float]

    @classmethod
    def of(cls, work: Callable[[], object]) -> Timing:
        """Time some work; what earlier work has left to be written is written first."""
        os.sync()
        before, _, _ = os.getloadavg()
        began = time.perf_counter()
        work()
        seconds = time.perf_counter() - began
        return cls(seconds=round(seconds, 2), load=(before, os.getloadavg()[0]))


def warm(side: Side, repository: Repository) -> None:
    """Fill the caches of a side, for both locks."""
    for put in (repository.change, repository.restore):
        put()
        _say(f"{side.name}: fills its caches")
        side.warm()


def measured(side: Side, repository: Repository, work: Path) -> Iterator[tuple[Case, Timing]]:
    """All cases of one side, each after the one that it builds on."""
    side.forget()
    with tempfile.TemporaryDirectory(dir=work, prefix="archive-") as name:
        archive = Path(name, "image.tar")
        yield Case.FIRST_EXPORT, Timing.of(lambda: side.export(archive))
        yield Case.AGAIN_EXPORT, Timing.of(lambda: side.export(archive))
        repository.change()
        yield Case.CHANGED_EXPORT, Timing.of(lambda: side.export(archive))
    repository.restore()
    side.forget()
    with (
        tempfile.TemporaryDirectory(dir=work, prefix="registry-") as name,
        serving(Path(name)) as registry,
    ):
        address = f"{registry}/{repository.image}"
        yield Case.FIRST_PUSH, Timing.of(lambda: side.push(f"{address}:first"))
        repository.change()
        yield Case.CHANGED_PUSH, Timing.of(lambda: side.push(f"{address}:changed"))
    repository.restore()
    side.forget()


def fits(side: Side, repository: Repository, work: Path) -> bool:
    """Whether the disk is large enough for a side; says what it lacks."""
    free = shutil.disk_usage(work).free
    wanted = side.copies * (repository.spec.budget_mb or 0) * _MB
    if free < wanted:
        _say(f"{side.name}: left out, it needs {wanted / _GB:.0f} GB of the {free / _GB:.0f} free")
    return free >= wanted


def timings(side: Side, repository: Repository, work: Path) -> dict[Case, Timing]:
    """All cases of one side, told as they come."""
    found = {}
    for case, timing in measured(side, repository, work):
        free = shutil.disk_usage(work).free
        _say(f"{side.name}: {case.words}: {timing.seconds:.1f} s, {free / _GB:.0f} GB free")
        found[case] = timing
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
