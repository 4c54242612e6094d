"""A session that is killed at any moment of a build leaves nothing, round after round."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline.engine.runtime.hierarchies import find_hierarchies
from layerline.engine.runtime.user_ids import PLACE
from tests.concurrency.test_endings import end

if TYPE_CHECKING:
    from tests.conftest import CommandLine

pytestmark = pytest.mark.privileged

BASE = ("core", "--progress=plain", "container", "from", "--address=debian:bookworm-slim")
SOON = 5.0
MOUNTS = Path("/proc/self/mountinfo")


def build(number: int) -> tuple[str, ...]:
    """A step of its own, with a network, a volume and some output."""
    script = f"echo {number}; sleep 0.1; echo {number} > /cache/file"
    cache = ("with-mounted-cache", "--path=/cache", "--cache=kills")
    return (*BASE, *cache, "with-exec", f"--args=sh,-c,{script}", "sync")


def family(process: int) -> tuple[set[int], set[str]]:
    """The processes that one has started, and the process namespaces of their own."""
    found, waiting = set(), [process]
    while waiting:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{waiting.pop()}/task").iterdir():
                children = {int(each) for each in (task / "children").read_text().split()}
                waiting += children
                found |= children
    spaces = {each for process in found if (each := namespace_of(process))}
    return found, spaces - {namespace_of(os.getpid())}


def namespace_of(process: int) -> str:
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{process}/ns/pid").readlink())
    return ""


def processes_of(store: str, spaces: set[str]) -> list[str]:
    """What runs in namespaces, or knows a store."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (place / "cmdline").read_bytes()
            known = store.encode() in line + (place / "environ").read_bytes()
            if known or namespace_of(int(place.name)) in spaces:
                found.append(line.replace(b"\0", b" ").decode())
    return found


def sessions() -> set[Path]:
    """The directories that sessions have in the hierarchies of cgroups and below `PLACE`."""
    found: set[Path] = set()
    for place in (*(each.place / "layerline" for each in find_hierarchies()), PLACE):
        with contextlib.suppress(FileNotFoundError):  # it goes with the last session
            found |= {path for path in place.iterdir() if path.is_dir()}
    return found


def is_dead(session: Path) -> bool:
    """Whether a directory exists that no session holds; those of the other hierarchies follow."""
    try:
        lock = os.open(session, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def leftovers(store: str, before: set[Path], spaces: set[str]) -> list[str]:
    """What is left of a killed session, after it had time to go."""
    deadline = time.monotonic() + SOON
    while True:
        first = find_hierarchies()[0].place
        groups = [path for path in sessions() - before if first in path.parents and is_dead(path)]
        left = [*processes_of(store, spaces), *map(str, groups)]
        left += [line for line in MOUNTS.read_text().splitlines() if store in line]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


@pytest.mark.parametrize("rounds", [4, pytest.param(200, marks=pytest.mark.slow)])
def test_nothing_is_left_of_killed_sessions(command_line: CommandLine, rounds: int) -> None:
    command_line.run(*BASE, "sync")
    began = time.monotonic()
    command_line.run(*build(0))
    longest = time.monotonic() - began
    store = command_line.environ["LAYERLINE_STORE"]
    moments = random.Random(rounds)
    left: list[str] = []
    first = sessions()
    for number in range(1, rounds + 1):
        before = sessions()
        process = command_line.start(*build(number))
        try:
            time.sleep(moments.uniform(0, longest))
            _, spaces = family(process.pid)
            process.send_signal(signal.SIGKILL)
            process.wait()
            left += [f"round {number}: {each}" for each in leftovers(store, before, spaces)]
        finally:
            end(process)
    assert left == []
    dead = [path for path in sessions() - first if PLACE in path.parents and is_dead(path)]
    command_line.run(*build(rounds + 1))  # the next start
    assert list(Path(store, "scratch").iterdir()) == []
    assert [path for path in dead if is_dead(path)] == []
