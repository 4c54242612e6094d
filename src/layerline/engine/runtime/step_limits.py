"""The limits of a session's containers: how each is enforced here, and which one a program hit.

Cgroups where the controller can be used, rlimits elsewhere: those count the memory of each process
alone and the processes of a user, not of a step.
"""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from layerline.engine.runtime.bounds import Machine, bounds_of_session, bounds_of_step
from layerline.engine.runtime.hierarchies import CONTROLLERS, read_count, read_number
from layerline.limits import UNLIMITED, variable_of
from layerline.quantities import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.engine.runtime.bounds import Bounds
    from layerline.engine.runtime.cgroups import Cgroups
    from layerline.engine.runtime.hierarchies import Controller
    from layerline.limits import Limits

Json = dict[str, object]

_LEAST_DATA = 256 << 20  # bytes; the runtime's own process needs 96 MiB to start a program
_PERIOD = 100_000  # microseconds in which a quota of CPU time is spent
_PAUSE = 1.0  # seconds between two looks at the files of a running container
_STUCK = 10  # looks in which a program was refused processes before it is ended
# A step is ended before the engine and the user's other programs when the machine has no memory.
_OOM_SCORE = 500
_WORST_OOM_SCORE = 1000
_OWN_OOM_SCORE = Path("/proc/self/oom_score_adj")
_MEMORY_FILES = ("memory.limit_in_bytes", "memory.max")
_SWAP_FILES = ("memory.memsw.limit_in_bytes", "memory.swap.max")
_FILES: dict[Controller, tuple[str, ...]] = {
    "memory": _MEMORY_FILES,
    "pids": ("pids.max",),
    "cpu": ("cpu.cfs_quota_us", "cpu.max"),
}
_SETTINGS: dict[Controller, str] = {"memory": "memory", "pids": "processes", "cpu": "cpus"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLimits:
    """The limits of one session. `enforced` are the controllers whose files can be written."""

    cgroups: Cgroups
    step: Bounds
    session: Bounds
    config: Path
    enforced: frozenset[Controller]
    counts_swap: bool

    @classmethod
    def impose(cls, cgroups: Cgroups, limits: Limits, config: Path) -> Self:
        """Limit the session's containers together; `config` is the file that a hint names."""
        machine = Machine.measure(cgroups.hierarchies)
        session = bounds_of_session(limits, machine)
        enforced = frozenset(each for each in CONTROLLERS if _is_usable(cgroups, each))
        memory = cgroups.directory("memory")
        counts_swap = memory is not None and any((memory / name).exists() for name in _SWAP_FILES)
        created = cls(
            cgroups=cgroups,
            step=bounds_of_step(limits, machine),
            session=session,
            config=config,
            enforced=enforced,
            counts_swap=counts_swap,
        )
        created._write("", session)
        return created

    @property
    def resources(self) -> Json:
        """The limits of a container as OCI's `linux.resources`; the runtime writes them."""
        found: Json = {}
        if "memory" in self.enforced and self.step.memory < UNLIMITED:
            found["memory"] = {"limit": self.step.memory}
            if self.counts_swap:
                found["memory"] = {"limit": self.step.memory, "swap": self.step.memory_and_swap}
        if "pids" in self.enforced and self.step.processes < UNLIMITED:
            found["pids"] = {"limit": self.step.processes}
        if "cpu" in self.enforced and self.step.cpus < UNLIMITED:
            found["cpu"] = {"quota": int(self.step.cpus * _PERIOD), "period": _PERIOD}
        return found

    @property
    def rlimits(self) -> dict[str, int]:
        """The limits of a process that stand in for controllers that cannot be used, by name.

        RLIMIT_DATA and not RLIMIT_AS, which fails programs that reserve more than they use.
        """
        found = {}
        if "memory" not in self.enforced and self.step.memory < UNLIMITED:
            found["RLIMIT_DATA"] = max(self.step.memory_and_swap, _LEAST_DATA)
        if "pids" not in self.enforced and self.step.processes < UNLIMITED:
            found["RLIMIT_NPROC"] = self.step.processes
        return {name: min(value, _hard_rlimit(name)) for name, value in found.items()}

    @property
    def oom_score(self) -> int:
        """How readily the kernel ends a process of a step when the machine is out of memory."""
        return min(int(_OWN_OOM_SCORE.read_text()) + _OOM_SCORE, _WORST_OOM_SCORE)

    @property
    def shortfall(self) -> str:
        """What the limits do not hold for lack of cgroups; empty when they hold."""
        missing = [_SETTINGS[each] for each in CONTROLLERS if self._lacks(each)]
        if not missing:
            return ""
        listed = " and ".join(missing)
        without = "" if "cpus" not in missing else "; no rlimit stands in for cpus"
        return (
            f"no writable cgroup limits the {listed} of a step: rlimits are used, which hold for "
            f"single processes and users{without}; 'layerline doctor' says why"
        )

    def watch(self, container: str) -> LimitWatch:
        """A look at the limits of a container that is about to start."""
        return LimitWatch(limits=self, container=container)

    def hint(self, key: str) -> str:
        """How a user raises a limit."""
        return f"raise {variable_of(key)}, or {key} in [limits] of {self.config}"

    def _lacks(self, controller: Controller) -> bool:
        bound = {
            "memory": self.step.memory,
            "pids": self.step.processes,
            "cpu": self.step.cpus,
        }[controller]
        return bound < UNLIMITED and controller not in self.enforced

    def _write(self, container: str, bounds: Bounds) -> None:
        """Write limits to a group of ours; runc writes those of its containers itself."""
        for controller in self.enforced:
            place = self.cgroups.directory(controller, container)
            if place is None:
                continue
            for name, value in _values(controller, bounds):
                if (place / name).exists():
                    (place / name).write_text(value)


@dataclass(slots=True, kw_only=True)
class LimitWatch:
    """What a container met of its limits; the last counts are kept when its cgroup has gone."""

    limits: StepLimits
    container: str
    killed: int = 0
    refused: int = 0
    is_stuck: bool = False
    _looks: int = 0
    _looked: float = field(default_factory=time.monotonic)
    _refused_before: int = field(init=False)

    def __post_init__(self) -> None:
        self._refused_before = self._refusals("")  # of the session, by other containers

    def tick(self) -> bool:
        """Whether the program has to end: it does nothing but ask for processes it cannot have."""
        now = time.monotonic()
        if now - self._looked >= _PAUSE:
            self._looked = now
            before = self.refused
            self.look()
            self._looks = self._looks + 1 if self.refused > before else 0
            self.is_stuck = self.is_stuck or self._looks >= _STUCK
        return self.is_stuck

    def look(self) -> None:
        """Read the counts."""
        place = self.limits.cgroups.directory("memory", self.container)
        if place is not None:
            counts = (read_count(place / name, "oom_kill") for name in _OOM_FILES)
            self.killed = max(self.killed, *counts)
        self.refused = max(self.refused, self._refusals(self.container))

    def reason(self) -> str:
        """Why the program failed, if it was for a limit, and what raises it; else empty."""
        self.look()
        bounds = self.limits.step
        if self.is_stuck:
            return (
                f"too many processes: ended after {_STUCK} seconds at the limit of "
                f"{bounds.processes} for a step: {self.limits.hint('processes')}"
            )
        if self.killed:
            return self._reason_of_memory()
        if self.refused:
            return (
                f"too many processes: the limit for a step is {bounds.processes}: "
                f"{self.limits.hint('processes')}"
            )
        if "pids" in self.limits.enforced and self._refusals("") > self._refused_before:
            return (
                "too many processes: the limit for all steps that run at once is "
                f"{self.limits.session.processes}: {self.limits.hint('processes')}"
            )
        return ""

    def _reason_of_memory(self) -> str:
        step, session = self.limits.step, self.limits.session
        if self._has_hit(self.container, step.memory):
            what = f"the limit for a step is {format_size(step.memory_and_swap)}"
        elif self._has_hit("", session.memory):
            what = (
                "the limit for all steps that run at once is "
                f"{format_size(session.memory_and_swap)}"
            )
        else:
            return "out of memory: the machine has no more: run fewer programs at once"
        return f"out of memory: {what}: {self.limits.hint('memory')}"

    def _has_hit(self, container: str, limit: int) -> bool:
        """Whether the group was at its own limit; version 1 does not count that as an event."""
        place = self.limits.cgroups.directory("memory", container)
        if place is None or limit == UNLIMITED:
            return False
        peak = read_number(place / "memory.max_usage_in_bytes")
        if peak < UNLIMITED:
            return peak + _CHARGED_AT_ONCE > limit
        return read_count(place / "memory.events", "oom") > 0

    def _refusals(self, container: str) -> int:
        place = self.limits.cgroups.directory("pids", container)
        return 0 if place is None else read_count(place / "pids.events", "max")


_OOM_FILES = ("memory.oom_control", "memory.events")
_CHARGED_AT_ONCE = 1 << 20  # bytes that may lack of a limit when it is reached


def _is_usable(cgroups: Cgroups, controller: Controller) -> bool:
    place = cgroups.directory(controller)
    return place is not None and any(
        os.access(place / name, os.W_OK) for name in _FILES[controller]
    )


def _values(controller: Controller, bounds: Bounds) -> Iterator[tuple[str, str]]:
    """Files and values; each group has those of one version."""
    match controller:
        case "memory" if bounds.memory < UNLIMITED:
            both = str(bounds.memory_and_swap)
            yield from zip(_MEMORY_FILES, (str(bounds.memory),) * 2, strict=True)
            yield from zip(_SWAP_FILES, (both, str(bounds.swap)), strict=True)
        case "pids" if bounds.processes < UNLIMITED:
            yield "pids.max", str(bounds.processes)
        case "cpu" if bounds.cpus < UNLIMITED:
            quota = int(bounds.cpus * _PERIOD)
            yield "cpu.cfs_quota_us", str(quota)
            yield "cpu.max", f"{quota} {_PERIOD}"
        case _:
            pass


def _hard_rlimit(name: str) -> int:
    hard = resource.getrlimit(getattr(resource, name))[1]
    return UNLIMITED if hard == resource.RLIM_INFINITY else hard
