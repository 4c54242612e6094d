"""What was measured, as a table to read and as a document to keep."""

from __future__ import annotations

import dataclasses
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.docker.cases import Case

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.docker.cases import Timing
    from benchmarks.docker.floor import Floor

_GB = 10**9
# What a first build and its export may take of the floor.
FLOOR_RATIO = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: the first side is the one that the others are compared with."""

    image: str
    commit: str
    package: str
    docker: str
    began: str
    sides: Mapping[str, Mapping[Case, Timing]]
    floor: Floor


def table(run: Run) -> Iterator[str]:
    """The table in Markdown, then floor and machine."""
    own, *others = run.sides
    head = ["case", own, *(f"{word} {name}" for name in others for word in ("docker", "ratio"))]
    yield _row([*head, "load"])
    yield _row(["---"] * (len(head) + 1))
    for case in Case:
        mine = run.sides[own][case]
        cells = [case.words, f"{mine.seconds:.1f} s (processor {mine.processor:.1f} s)"]
        for name in others:
            theirs = run.sides[name][case]
            cells += [f"{theirs.seconds:.1f} s", _ratio(theirs, mine, case.target(name))]
        loads = "; ".join(
            "{:.1f} to {:.1f}".format(*run.sides[each][case].load) for each in run.sides
        )
        yield _row([*cells, loads])
    yield ""
    lowest = run.floor.install.seconds + run.floor.tar.seconds
    first = run.sides[own][Case.FIRST_EXPORT].seconds
    yield (
        f"Floor: `uv pip install` {run.floor.install.seconds:.1f} s, one tar of the "
        f"{run.floor.size / _GB:.1f} GB {run.floor.tar.seconds:.1f} s; {own}'s first build and "
        f"export takes {first / lowest:.2f} of both ({FLOOR_RATIO} wanted)."
    )
    yield f"{run.image} at {run.commit[:10]}, {run.began}; changed package: {run.package}."
    yield ", ".join(f"{key} {value}" for key, value in _machine(run).items()) + "."


def document(run: Run) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "image": run.image,
        "commit": run.commit,
        "changed": run.package,
        "began": run.began,
        "machine": _machine(run),
        "floor": dataclasses.asdict(run.floor),
        "wanted": {case.name.lower(): case.value[1] for case in Case} | {"floor": FLOOR_RATIO},
        "sides": {
            name: {case.name.lower(): dataclasses.asdict(timing) for case, timing in them.items()}
            for name, them in run.sides.items()
        },
    }


def _machine(run: Run) -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "processors": os.cpu_count(),
        "memory": f"{memory / _GB:.0f} GB",
        "kernel": platform.release(),
        "docker": run.docker,
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    found = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(found, platform.machine())


def _ratio(theirs: Timing, mine: Timing, wanted: float | None) -> str:
    """How many times faster the first side is, and what is wanted."""
    ratio = theirs.seconds / mine.seconds
    if wanted is None:
        return f"{ratio:.1f}"
    return f"{ratio:.1f} ({wanted:g} wanted{'' if ratio >= wanted else ', MISSED'})"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
