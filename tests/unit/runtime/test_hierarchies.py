"""Where controllers are, on trees of files as the kernel shows them. Source: cgroups(7)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from layerline.engine.runtime.bounds import Machine, bounds_of_session, bounds_of_step
from layerline.engine.runtime.hierarchies import find_hierarchies
from layerline.limits import UNLIMITED, Limits

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30


class Tree:
    """Files below a directory."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def write(self, files: dict[str, str]) -> None:
        """Create files by path."""
        for path, text in files.items():
            (self.place / path).parent.mkdir(parents=True, exist_ok=True)
            (self.place / path).write_text(text)

    def find(self) -> list[tuple[str, int, str]]:
        """The hierarchies: path, version, base."""
        found = find_hierarchies(self.place / "cgroup", self.place / "own")
        root = self.place / "cgroup"
        return [(str(each.mount.relative_to(root)), each.version, each.base) for each in found]

    def machine(self) -> Machine:
        """What a process there may use."""
        found = find_hierarchies(self.place / "cgroup", self.place / "own")
        return Machine.measure(found, self.place / "proc")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A machine of 16 GiB and 32,768 processes, without cgroups."""
    tree = Tree(tmp_path)
    tree.write(
        {
            "proc/meminfo": f"MemTotal:       {16 * GIB >> 10} kB\nMemFree: 1 kB\n",
            "proc/sys/kernel/pid_max": "32768\n",
            "proc/sys/kernel/threads-max": "127000\n",
        }
    )
    return tree


def test_a_controller_of_version_1_is_found_by_the_name_of_its_mount(tree: Tree) -> None:
    tree.write(
        {
            "own": "4:cpu,cpuacct:/a\n3:memory:/a/b\n2:pids:/a\n0::/\n",
            "cgroup/cpu,cpuacct/cgroup.procs": "",
            "cgroup/memory/cgroup.procs": "",
            "cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "cgroup/memory/a/memory.limit_in_bytes": f"{4 * GIB}\n",
            "cgroup/memory/a/b/memory.limit_in_bytes": f"{8 * GIB}\n",
            "cgroup/pids/cgroup.procs": "",
            "cgroup/pids/a/pids.max": "1000\n",
            "cgroup/unified/cgroup.procs": "",
            "cgroup/unified/cgroup.controllers": "hugetlb\n",
        }
    )
    assert tree.find() == [
        ("cpu,cpuacct", 1, ""),
        ("memory", 1, ""),
        ("pids", 1, ""),
        ("unified", 2, ""),
    ]
    found = find_hierarchies(tree.place / "cgroup", tree.place / "own")
    assert [each.mount.name for each in found if each.has("cpu")] == ["cpu,cpuacct"]
    assert tree.machine() == Machine(memory=4 * GIB, processes=1000)


def test_version_2_has_the_limits_of_every_enclosing_group(tree: Tree) -> None:
    tree.write(
        {
            "own": "0::/ci.slice/job.scope\n",
            "cgroup/cgroup.procs": "",
            "cgroup/cgroup.subtree_control": "",
            "cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
            "cgroup/ci.slice/memory.max": f"{2 * GIB}\n",
            "cgroup/ci.slice/pids.max": "max\n",
            "cgroup/ci.slice/job.scope/memory.max": "max\n",
            "cgroup/ci.slice/job.scope/pids.max": "400\n",
        }
    )
    assert tree.find() == [(".", 2, "")]
    assert tree.machine() == Machine(memory=2 * GIB, processes=400)


def test_groups_are_created_in_the_topmost_one_that_systemd_delegated(tree: Tree) -> None:
    user = "user.slice/user-1000.slice/user@1000.service"
    tree.write(
        {
            "own": f"0::/{user}/app.slice/term.scope\n",
            "cgroup/cgroup.procs": "",
            "cgroup/cgroup.controllers": "memory pids\n",
            **{
                f"cgroup/{user}{below}/{name}": ""
                for below in ("", "/app.slice", "/app.slice/term.scope")
                for name in ("cgroup.procs", "cgroup.subtree_control")
            },
        }
    )
    assert tree.find() == [(".", 2, user)]


def test_a_default_leaves_a_tenth_of_the_memory_and_half_of_the_processes(tree: Tree) -> None:
    machine = tree.machine()
    step, session = bounds_of_step(Limits(), machine), bounds_of_session(Limits(), machine)
    assert step.memory == session.memory == 16 * GIB - 16 * GIB // 10
    assert (step.swap, session.swap) == (0, 0)
    assert (step.processes, session.processes) == (8192, 16384)
    assert step.cpus == UNLIMITED


def test_the_limit_of_a_pid_namespace_is_not_the_machines(tree: Tree) -> None:
    """Linux 6.14: "pid: allow pid_max to be set per pid namespace"; a new one has 4,194,304."""
    tree.write({f"proc/sys/kernel/{name}": "4194304\n" for name in ("pid_max", "threads-max")})
    assert tree.machine().processes == max(32768, 1024 * (os.cpu_count() or 1))


@pytest.mark.parametrize(
    ("total", "left"), [(256 << 20, 128 << 20), (2 * GIB, 512 << 20), (512 * GIB, 8 * GIB)]
)
def test_the_reserve_is_within_bounds_on_small_and_large_machines(total: int, left: int) -> None:
    machine = Machine(memory=total, processes=1000)
    assert total - bounds_of_step(Limits(), machine).memory == left


def test_what_a_user_asks_for_beyond_the_memory_is_swap_and_holds_for_the_session() -> None:
    machine = Machine(memory=10 * GIB, processes=1000)
    limits = Limits(memory=12 * GIB, processes=700)
    for bounds in (bounds_of_step(limits, machine), bounds_of_session(limits, machine)):
        assert (bounds.memory, bounds.swap) == (9 * GIB, 3 * GIB)
        assert bounds.processes == 700


def test_unlimited_lifts_the_limits_of_the_session_too() -> None:
    machine = Machine(memory=10 * GIB, processes=1000)
    limits = Limits(memory=UNLIMITED, processes=UNLIMITED)
    for bounds in (bounds_of_step(limits, machine), bounds_of_session(limits, machine)):
        assert bounds.memory == bounds.memory_and_swap == bounds.processes == UNLIMITED
