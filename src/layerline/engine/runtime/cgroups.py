"""The cgroups of this session's containers, and the removal of those that dead sessions left.

Invariant: a session holds a lock on its own directory for as long as it lives; a directory whose
lock is free belongs to nobody. It is made first and removed last of those of a session. Without
writable cgroups, containers run without any.
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from layerline import command
from layerline.engine.runtime.hierarchies import (
    CONTROLLERS,
    find_hierarchies,
    read_text,
    subdirectories,
)
from layerline.engine.runtime.stdio import kill_process

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from layerline.engine.runtime.hierarchies import Controller, Hierarchy

_NAME = "layerline"
_PATIENCE = 1.0  # seconds in which killed processes leave their group
_PAUSE = 0.005
_ATTEMPTS = 100


class Cgroups:
    """The part of the cgroup tree that one session uses."""

    def __init__(self, hierarchies: Sequence[Hierarchy] | None = None) -> None:
        self.hierarchies = find_hierarchies() if hierarchies is None else list(hierarchies)
        sweep_dead_sessions(self.hierarchies)
        self._session = uuid.uuid4().hex[:12]
        self._lock = self._claim()
        self._places = {
            controller: self._place(hierarchy)
            for hierarchy in reversed(self.hierarchies)
            for controller in CONTROLLERS
            if hierarchy.has(controller)
        }

    def path(self, container: str) -> str | None:
        """The cgroup path for a container, or None without writable cgroups."""
        if self._lock is None:
            return None
        base = next((each.base for each in self.hierarchies if each.base), "")
        return "/" + "/".join(filter(None, (base, _NAME, self._session, container)))

    def directory(self, controller: Controller, container: str = "") -> Path | None:
        """The directory of a container, or of the session, that has a controller's files."""
        place = self._places.get(controller)
        return None if self._lock is None or place is None else place / container

    def processes(self, container: str) -> list[int]:
        """What runs in the container's cgroup, by process number."""
        for hierarchy in self.hierarchies:
            path = self._place(hierarchy) / container
            if path.exists():
                return _processes(path)
        return []

    def remove(self, container: str) -> None:
        """End what is left in a container's cgroup and remove it."""
        if self._lock is not None:
            _remove([self._place(each) / container for each in self.hierarchies], _deadline())

    def close(self) -> None:
        """Remove the session's directories."""
        if self._lock is not None:
            _remove([self._place(each) for each in self.hierarchies], _deadline())
            for hierarchy in self.hierarchies:
                with suppress(OSError):  # other sessions may have theirs in it
                    (hierarchy.place / _NAME).rmdir()
            os.close(self._lock)
            self._lock = None

    def _place(self, hierarchy: Hierarchy) -> Path:
        return hierarchy.place / _NAME / self._session

    def _claim(self) -> int | None:
        """Create the session's directories; the lock on the first, or None where that fails."""
        if not self.hierarchies:
            return None
        first, *others = self.hierarchies
        lock = _make_and_lock(self._place(first))
        if lock is None:
            return None
        if first.base and not _may_enter(self._place(first)):
            self._place(first).rmdir()
            os.close(lock)
            return None
        for hierarchy in others:
            with suppress(OSError):
                self._place(hierarchy).mkdir(parents=True, exist_ok=True)
        for hierarchy in self.hierarchies:
            hierarchy.delegate(self._place(hierarchy))
        return lock


def _make_and_lock(path: Path) -> int | None:
    for _ in range(_ATTEMPTS):
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # the directory above it went with the end of another session
        except OSError:
            return None
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return lock
        os.close(lock)  # swept by another start before it was locked
    return None


def sweep_dead_sessions(hierarchies: Sequence[Hierarchy] | None = None) -> None:
    """End and remove what sessions left that were killed: only containers of theirs can be there.

    A process that does not end in time keeps its directory, until the next start.
    """
    found = find_hierarchies() if hierarchies is None else hierarchies
    places = [each.place / _NAME for each in found]
    names = {path.name for place in places for path in subdirectories(place)}
    deadline = _deadline()
    for name in sorted(names):
        with _hold_dead(places[0] / name) as is_dead:
            if is_dead:
                _remove([place / name for place in places], deadline)


@contextmanager
def _hold_dead(path: Path) -> Iterator[bool]:
    """Whether the session of a directory is dead; it cannot be claimed within the block."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    except OSError:
        yield False
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
    else:
        yield True
    finally:
        os.close(lock)


def _may_enter(path: Path) -> bool:
    """Whether a process of ours can be moved to a group that another one's owner delegated."""
    child = command.start(["sleep", "10"])
    try:
        (path / "cgroup.procs").write_text(str(child.pid))
    except OSError:
        return False
    finally:
        child.kill()
        child.wait()
    return True


def _deadline() -> float:
    return time.monotonic() + _PATIENCE


def _remove(paths: Sequence[Path], deadline: float) -> None:
    """Remove groups, the first one last; what still runs in them is killed."""
    for path in reversed(paths):
        while not _is_removed(path) and time.monotonic() < deadline:
            _kill(path)
            time.sleep(_PAUSE)


def _is_removed(path: Path) -> bool:
    if _try_rmdir(path):
        return True
    return all(_is_removed(child) for child in subdirectories(path)) and _try_rmdir(path)


def _try_rmdir(path: Path) -> bool:
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _kill(path: Path) -> None:
    for child in subdirectories(path):
        _kill(child)
    with suppress(OSError):
        (path / "cgroup.kill").write_text("1")
    with suppress(OSError):
        (path / "pids.max").write_text("0")  # nothing is forked faster than it is killed
    for number in _processes(path):
        with suppress(PermissionError):
            kill_process(number)


def _processes(path: Path) -> list[int]:
    lines = read_text(path / "cgroup.procs").split()
    return [int(line) for line in lines if line != "0"]  # 0: of another namespace
