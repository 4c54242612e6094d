"""What is measured, in which order, and how much faster Layerline has to be."""

from __future__ import annotations

import enum
import os
import resource
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.registry import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.docker.repository import Repository
    from benchmarks.docker.sides import Side

OWN = "layerline"
# How many times a side has the image's bytes on the disk at once.
COPIES = {OWN: 4, "plain": 4, "rendered": 5}
_MB, _GB = 10**6, 10**9
_UNBOUND: dict[str, float] = {}


class Case(enum.Enum):
    """What is asked of a side: the words of the table, and the ratios that are wanted by peer."""

    FIRST_EXPORT = ("first build and export", {"plain": 2.0, "rendered": 3.0})
    FIRST_PUSH = ("first build and push", {"plain": 3.5})
    CHANGED_EXPORT = ("one package changed, export", {"plain": 3.0, "rendered": 3.0})
    CHANGED_PUSH = ("one package changed, push", {"plain": 4.0, "rendered": 6.0})
    SOURCE_PUSH = ("one source file changed, push", _UNBOUND)
    AGAIN_EXPORT = ("nothing changed, export", {"plain": 20.0, "rendered": 20.0})

    @property
    def words(self) -> str:
        """How the table calls it."""
        return self.value[0]

    def target(self, peer: str) -> float | None:
        """How many times faster than a peer Layerline has to be; None where nothing is set."""
        return self.value[1].get(peer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long something took, and how busy the machine was: its load when that began and ended.

    `processor` is the time of the processes that were started and have ended: all of Layerline's,
    and of docker's the client's alone.
    """

    seconds: float
    load: tuple[float, float]
    processor: float = 0.0

    @classmethod
    def of(cls, work: Callable[[], object]) -> Timing:
        """Time some work; what earlier work has left to be written is written first."""
        os.sync()
        before, _, _ = os.getloadavg()
        used, began = _processor_seconds(), time.perf_counter()
        work()
        seconds = time.perf_counter() - began
        return cls(
            seconds=round(seconds, 2),
            load=(before, os.getloadavg()[0]),
            processor=round(_processor_seconds() - used, 2),
        )


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def groups(peers: list[str], repository: Repository, work: Path) -> Iterator[list[str]]:
    """The sides that are measured together: all, or each by itself where the disk is too small.

    Together they take turns, so that what else the machine does concerns them alike.
    """
    names = [OWN, *peers]
    if not _lacking(names, repository, work):
        yield names
        return
    for name in names:
        if not (lacking := _lacking([name], repository, work)):
            yield [name]
            continue
        _say(f"{name}: left out, as {lacking / _GB:.0f} GB more would have to be free")
        if name == OWN:
            return


def _lacking(names: list[str], repository: Repository, work: Path) -> int:
    """How many bytes the disk lacks for sides at once."""
    image = (repository.spec.budget_mb or 0) * _MB
    return max(0, image * sum(COPIES[name] for name in names) - shutil.disk_usage(work).free)


def timings(sides: Mapping[str, Side], work: Path) -> dict[str, dict[Case, Timing]]:
    """All cases of sides that take turns, told as they come."""
    for name, side in sides.items():
        for put in (side.repository.change, side.repository.restore):
            put()
            _say(f"{name}: fills its caches")
            side.warm()
    found: dict[str, dict[Case, Timing]] = {name: {} for name in sides}
    for turn in zip(*(_measured(side, work) for side in sides.values()), strict=True):
        for name, (case, timing) in zip(sides, turn, strict=True):
            found[name][case] = timing
            _say(f"{name}: {case.words}: {timing.seconds:.1f} s, load {timing.load[0]:.1f}")
    return found


def _measured(side: Side, work: Path) -> Iterator[tuple[Case, Timing]]:
    """All cases of one side, each after the one that it builds on."""
    side.forget()
    with tempfile.TemporaryDirectory(dir=work, prefix="archive-") as name:
        archive = Path(name, "image.tar")
        yield Case.FIRST_EXPORT, Timing.of(lambda: side.export(archive))
        yield Case.AGAIN_EXPORT, Timing.of(lambda: side.export(archive))
        side.repository.change()
        yield Case.CHANGED_EXPORT, Timing.of(lambda: side.export(archive))
    side.repository.restore()
    side.forget()
    with (
        tempfile.TemporaryDirectory(dir=work, prefix="registry-") as name,
        serving(Path(name)) as registry,
    ):
        address = f"{registry}/{side.repository.image}"
        yield Case.FIRST_PUSH, Timing.of(lambda: side.push(f"{address}:first"))
        side.repository.change()
        yield Case.CHANGED_PUSH, Timing.of(lambda: side.push(f"{address}:changed"))
        side.repository.edit()
        yield Case.SOURCE_PUSH, Timing.of(lambda: side.push(f"{address}:source"))
    side.repository.restore()
    side.forget()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
