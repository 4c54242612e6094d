"""The cgroups of this session's containers, and the removal of those that dead sessions left.

Invariant: a session holds a lock on its own directory for as long as it lives; a directory whose
lock is free belongs to nobody. Without writable cgroups, containers run without any.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from contextlib import suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_NAME = "layerline"


class Cgroups:
    """The part of the cgroup tree that one session uses."""

    def __init__(self, root: Path = ROOT) -> None:
        self._hierarchies = _hierarchies(root)
        self._sweep()
        self._session = uuid.uuid4().hex[:12]
        self._lock = self._claim()

    def path(self, container: str) -> str | None:
        """The cgroup path for a container, or None without writable cgroups."""
        return f"/{_NAME}/{self._session}/{container}" if self._lock is not None else None

    def processes(self, container: str) -> list[int]:
        """What runs in the container's cgroup, by process number."""
        path = Path(_NAME) / self._session / container / "cgroup.procs"
        for hierarchy in self._hierarchies:
            with suppress(OSError):
                lines = (hierarchy / path).read_text().split()
                return [int(line) for line in lines if line != "0"]  # 0: of another namespace
        return []

    def close(self) -> None:
        """Remove the session's directories."""
        if self._lock is not None:
            for hierarchy in self._hierarchies:
                _remove(hierarchy / _NAME / self._session)
                with suppress(OSError):  # other sessions may have theirs in it
                    (hierarchy / _NAME).rmdir()
            os.close(self._lock)
            self._lock = None

    def _claim(self) -> int | None:
        for hierarchy in self._hierarchies[:1]:
            path = hierarchy / _NAME / self._session
            while True:
                try:
                    path.mkdir(parents=True, exist_ok=True)
                    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                except OSError:
                    return None
                fcntl.flock(lock, fcntl.LOCK_EX)
                if path.exists():
                    return lock
                os.close(lock)  # swept by another start before it was locked
        return None

    def _sweep(self) -> None:
        for hierarchy in self._hierarchies[:1]:
            for path in _children(hierarchy / _NAME):
                if _is_dead(path):
                    for each in self._hierarchies:
                        _remove(each / _NAME / path.name)


def _hierarchies(root: Path) -> list[Path]:
    if (root / "cgroup.procs").exists():
        return [root]
    return [path for path in _children(root) if (path / "cgroup.procs").exists()]


def _children(path: Path) -> list[Path]:
    try:
        return sorted(
            child for child in path.iterdir() if child.is_dir() and not child.is_symlink()
        )
    except OSError:
        return []


def _is_dead(path: Path) -> bool:
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def _remove(path: Path) -> None:
    for child in _children(path):
        _remove(child)
    # A cgroup that still has processes stays; the next start tries again.
    with suppress(OSError):
        path.rmdir()
