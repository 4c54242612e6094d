"""Locks between threads and processes: flock on files that no container can inherit.

Invariant: a lock is released when its holder exits, however it exits; there are never two holders,
not even when the lock's file is removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.engine.store.digest import digest_of
from layerline.errors import Cancelled, StoreBusy

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

_POLL_SECONDS = 0.02
_OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Locks:
    """Named locks, each a file below `root`; a name is data, never a path."""

    root: Path

    @contextlib.contextmanager
    def exclusive(
        self, name: str, timeout: float | None = None, cancel: threading.Event | None = None
    ) -> Iterator[None]:
        """Hold the lock `name` exclusively; StoreBusy is raised after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        path = self.root / digest_of(name)
        while (descriptor := try_lock(path)) is None:
            if cancel is not None and cancel.is_set():
                message = f"cancelled while waiting for the lock {name!r}"
                raise Cancelled(message)
            if deadline is not None and time.monotonic() >= deadline:
                message = (
                    f"timed out after {timeout:g} s: the lock {name!r} is held by another run: "
                    "wait for it to finish, or stop it"
                )
                raise StoreBusy(message)
            _await(cancel, deadline)
        try:
            yield
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def hold_shared(path: Path) -> Iterator[None]:
    """Hold the file's lock together with others; waits for an exclusive holder."""
    descriptor = os.open(path, _OPEN, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def try_lock(path: Path) -> int | None:
    """Lock the file without waiting: the open descriptor that holds the lock, or None."""
    while True:
        descriptor = os.open(path, _OPEN, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)


def _await(cancel: threading.Event | None, deadline: float | None) -> None:
    """Wait until the next attempt."""
    seconds = _POLL_SECONDS
    if deadline is not None:
        seconds = max(0.0, min(seconds, deadline - time.monotonic()))
    if cancel is None:
        time.sleep(seconds)
    else:
        cancel.wait(seconds)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the locked file is still the one at the path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
