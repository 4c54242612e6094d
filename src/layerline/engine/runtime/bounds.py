"""The limits that hold: what the user set, or what this machine's size leads to.

The memory and the processes of a session's steps together have limits too; what is left is the
engine's and the rest of the machine's.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from layerline.engine.runtime.hierarchies import read_number, read_text
from layerline.limits import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.engine.runtime.hierarchies import Hierarchy
    from layerline.limits import Limits

PROC = Path("/proc")
# Kept for the engine and the machine: a tenth of the memory, within these.
_LEAST_RESERVE = 512 << 20
_LARGEST_RESERVE = 8 << 30
# A step gets a quarter of the machine's processes, all steps together half of them; more than these
# help nobody and take long to end.
_MOST_OF_STEP = 16384
_MOST_OF_SESSION = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What our group may use: `memory` in bytes, `processes` with threads."""

    memory: int
    processes: int

    @classmethod
    def measure(cls, hierarchies: Sequence[Hierarchy], proc: Path = PROC) -> Self:
        """Read the kernel's limits and those of the groups that this process is in."""
        memory = [_total_memory(proc)]
        settings = (proc / "sys/kernel" / name for name in ("pid_max", "threads-max"))
        processes = [_default_pid_max(), *map(read_number, settings)]
        for hierarchy in hierarchies:
            for group in hierarchy.enclosing():
                if hierarchy.has("memory"):
                    memory += [read_number(group / name) for name in _MEMORY_FILES]
                if hierarchy.has("pids"):
                    processes.append(read_number(group / "pids.max"))
        return cls(memory=min(memory), processes=min(processes))


_MEMORY_FILES = ("memory.max", "memory.limit_in_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits in the kernel's terms; UNLIMITED where there is none.

    `memory` is of RAM, `swap` is what may be used in addition to it, both in bytes.
    """

    memory: int
    swap: int
    processes: int
    cpus: float = UNLIMITED

    @property
    def memory_and_swap(self) -> int:
        """Both together, in bytes."""
        return min(self.memory + self.swap, UNLIMITED)


def bounds_of_step(limits: Limits, machine: Machine) -> Bounds:
    """The limits of one container."""
    processes = min(machine.processes // 4, _MOST_OF_STEP)
    return Bounds(
        memory=_memory(limits.memory, machine),
        swap=_swap(limits.memory, machine),
        processes=processes if limits.processes is None else limits.processes,
        cpus=UNLIMITED if limits.cpus is None else limits.cpus,
    )


def bounds_of_session(limits: Limits, machine: Machine) -> Bounds:
    """The limits of all containers of a session together, which are never below those of one."""
    memory = max(limits.memory or 0, _default_memory(machine))
    processes = min(machine.processes // 2, _MOST_OF_SESSION)
    return Bounds(
        memory=_memory(memory, machine),
        swap=_swap(memory, machine),
        processes=max(limits.processes or 0, processes),
    )


def _default_memory(machine: Machine) -> int:
    reserve = min(max(machine.memory // 10, _LEAST_RESERVE), _LARGEST_RESERVE, machine.memory // 2)
    return machine.memory - reserve


def _memory(setting: int | None, machine: Machine) -> int:
    """What the user asks for beyond the machine's memory can only be swap."""
    if setting is None:
        return _default_memory(machine)
    return UNLIMITED if setting == UNLIMITED else min(setting, _default_memory(machine))


def _swap(setting: int | None, machine: Machine) -> int:
    if setting is None:
        return 0
    return UNLIMITED if setting == UNLIMITED else max(0, setting - _default_memory(machine))


def _default_pid_max() -> int:
    """The kernel's default for this machine (kernel/pid.c, PIDS_PER_CPU_DEFAULT).

    Since Linux 6.14 `pid_max` is that of the PID namespace, 4 million in a new one such as the
    engine's; what holds for the machine cannot be read there.
    """
    return max(32768, 1024 * (os.cpu_count() or 1))


def _total_memory(proc: Path) -> int:
    for line in read_text(proc / "meminfo").splitlines():
        name, _, value = line.partition(":")
        if name == "MemTotal":
            return int(value.split()[0]) << 10
    return UNLIMITED
