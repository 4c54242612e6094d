"""Where the time of a call goes: each phase with its wall time, and the processor time in it.

    .venv/bin/python -m benchmarks.profile [--top N] [--json FILE] -- call build --image=api sync

Runs `layerline` of this checkout with the arguments, in the current directory and with the store
of the environment. The phases are the steps that `--progress=json` names, and what is before the
first and after the last. Processor time is that of all processes of the call while a phase lasted,
by what they are: phases that run at the same time each count it. What ends between two samples is
in the total alone.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import resource
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import ROOT
from layerline import command
from layerline.settings import process_environ

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# More often costs more than what is measured.
_PERIOD_SECONDS = 0.1
_TICK = os.sysconf("SC_CLK_TCK")
# What the time before the first step and after the last one is called.
STARTING, ENDING = "(before the first step)", "(after the last step)"
KINDS = ("engine", "module", "runc", "container")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A part of a call, in seconds since it began."""

    name: str
    begin: float
    end: float
    status: str = ""


@dataclass(slots=True, kw_only=True)
class Sampler:
    """Adds up the processor time of a process and its descendants, by kind, as time goes on."""

    process: int
    began: float
    seen: dict[int, float] = field(default_factory=dict)
    kinds: dict[int, str] = field(default_factory=dict)
    used: dict[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 0.0))
    samples: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Sample until the call has ended."""
        while not self.ended.wait(_PERIOD_SECONDS):
            self.sample()

    def sample(self) -> None:
        """Add what each process has used since it was last seen."""
        for process in _family(self.process):
            with contextlib.suppress(OSError, IndexError):  # it has just ended
                kind = self._kind(process)
                seconds = _processor_seconds(process)
                self.used[kind] += max(0.0, seconds - self.seen.get(process, 0.0))
                self.seen[process] = seconds
        self.samples.append((time.time() - self.began, dict(self.used)))

    def _kind(self, process: int) -> str:
        """What a process is by its command, which changes once where runc starts a container."""
        if self.kinds.get(process) not in {"module", "container"}:
            argv = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
            name = os.fsdecode(argv[0]).rpartition("/")[2]
            self.kinds[process] = (
                "engine"
                if process == self.process or b"layerline" in b" ".join(argv[:4])
                else "runc"
                if name.startswith("runc") or argv[0] == b"/proc/self/exe"
                else "module"
                if b"/runtime" in argv
                else "container"
            )
        return self.kinds[process]

    def between(self, begin: float, end: float) -> dict[str, float]:
        """The processor seconds of each kind in a part of the call."""
        return {
            kind: self._until(end).get(kind, 0.0) - self._until(begin).get(kind, 0.0)
            for kind in KINDS
        }

    def _until(self, moment: float) -> dict[str, float]:
        found: dict[str, float] = {}
        for when, used in self.samples:
            if when > moment:
                break
            found = used
        return found


def _family(process: int) -> Iterator[int]:
    yield process
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _family(int(child))


def _processor_seconds(process: int) -> float:
    """User and system time: fields 14 and 15 of proc(5)'s stat, which follow the name's bracket."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def phases_of(events: Sequence[dict[str, Any]], began: float, ended: float) -> list[Phase]:
    """The steps of a call in the order in which they began, between what is around them."""
    begins: dict[int, float] = {}
    found: list[Phase] = []
    for event in events:
        begins.setdefault(event["step"], event["time"])
        if "status" in event:
            begin = event["time"] - event["seconds"]
            found.append(
                Phase(
                    name=event["name"],
                    begin=begin - began,
                    end=event["time"] - began,
                    status=event["status"],
                )
            )
    if not found:
        return [Phase(name=STARTING, begin=0.0, end=ended - began)]
    first, last = min(each.begin for each in found), max(each.end for each in found)
    return [
        Phase(name=STARTING, begin=0.0, end=first),
        *sorted(found, key=lambda each: each.begin),
        Phase(name=ENDING, begin=last, end=ended - began),
    ]


def profile(argv: Sequence[str], cwd: Path) -> dict[str, Any]:
    """Run a call and describe its phases."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.time()
    words = [sys.executable, "-m", "layerline", argv[0], "--progress=json", *argv[1:]]
    # Not the packages of the working directory.
    environ = {**process_environ(), "PYTHONPATH": str(ROOT / "src"), "PYTHONSAFEPATH": "1"}
    process = command.start(
        words,
        env=environ,
        cwd=cwd,
        stdin=command.DEVNULL,
        stdout=command.DEVNULL,
        stderr=command.PIPE,
    )
    sampler = Sampler(process=process.pid, began=began)
    thread = threading.Thread(target=sampler.run)
    thread.start()
    assert process.stderr is not None
    lines = [line for line in process.stderr if line.strip()]
    status = process.wait()
    ended = time.time()
    sampler.ended.set()
    thread.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if status:
        raise SystemExit(b"".join(lines[-20:]).decode(errors="replace"))
    events = [json.loads(line) for line in lines if line.startswith(b"{")]
    return {
        "seconds": ended - began,
        "processor": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "load": os.getloadavg()[0],
        "kinds": sampler.used,
        "phases": [
            {
                "name": phase.name,
                "begin": phase.begin,
                "seconds": phase.end - phase.begin,
                "status": phase.status,
                "processor": sampler.between(phase.begin, phase.end),
            }
            for phase in phases_of(events, began, ended)
        ],
    }


def table(found: dict[str, Any], top: int) -> str:
    """The longest phases, in the order in which they began, and the sums."""
    phases = found["phases"]
    chosen = sorted(phases, key=lambda each: each["seconds"], reverse=True)[:top]
    head = f"{'began':>7} {'wall':>7} " + " ".join(f"{kind:>9}" for kind in KINDS) + "  phase"
    rows = [
        f"{each['begin']:7.2f} {each['seconds']:7.2f} "
        + " ".join(f"{each['processor'][kind]:9.2f}" for kind in KINDS)
        + f"  {each['name']} {each['status']}".rstrip()
        for each in phases
        if each in chosen
    ]
    sums = collections.Counter(found["kinds"])
    total = f"{'':7} {found['seconds']:7.2f} " + " ".join(f"{sums[kind]:9.2f}" for kind in KINDS)
    last = f"processor {found['processor']:.2f} s in all, load {found['load']:.1f}"
    return "\n".join([head, *rows, f"{total}  all", last])


def main() -> None:
    """Profile one call."""
    parser = argparse.ArgumentParser(description="Show where the time of a call goes.")
    parser.add_argument("--top", type=int, default=40, help="how many phases are shown")
    parser.add_argument("--json", type=Path, help="file for all phases")
    parser.add_argument("argv", nargs="+", metavar="ARG", help="arguments of layerline")
    chosen = parser.parse_args()
    found = profile(chosen.argv, Path.cwd())
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found, chosen.top))


if __name__ == "__main__":
    main()
