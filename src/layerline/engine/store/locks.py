"""Locks between threads and processes: ranges of one file that no container can inherit.

Invariant: a lock is released when its holder exits, however it exits; there are never two holders.
The file is the store's version, held open: without it no session opens the store, and a session
that is open keeps to the file that the others have, even if its name is removed.
https://man7.org/linux/man-pages/man2/F_OFD_SETLK.2const.html
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import struct
import time
from typing import TYPE_CHECKING

from layerline.engine.store.cancellation import check_cancelled
from layerline.engine.store.format import VERSION_FILE
from layerline.errors import Cancelled, StoreBusy

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

_POLL_SECONDS = 0.02
_OPEN = os.O_RDWR | os.O_CLOEXEC
_SET, _SET_AND_WAIT = 37, 38  # F_OFD_SETLK, F_OFD_SETLKW: owned by what was opened, not by us
_HELD = (errno.EAGAIN, errno.EACCES)
_LARGEST_OFFSET = 2**62


class Locks:
    """Named locks over the file `version` in `root`; a name is data, never a path."""

    def __init__(self, root: Path) -> None:
        self._descriptor = os.open(root / VERSION_FILE, _OPEN | os.O_CREAT | os.O_NOFOLLOW, 0o600)

    def close(self) -> None:
        """Take no more locks; those that are held stay."""
        os.close(self._descriptor)

    @contextlib.contextmanager
    def exclusive(
        self, name: str, timeout: float | None = None, cancel: threading.Event | None = None
    ) -> Iterator[None]:
        """Hold the lock `name` exclusively; StoreBusy is raised after `timeout` seconds.

        Waiting ends with `Cancelled` once `cancel` is set, or the work of this thread is cancelled.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._open() as handle:
            while not _try(handle, name):
                check_cancelled()
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
            yield

    @contextlib.contextmanager
    def try_exclusive(self, name: str) -> Iterator[bool]:
        """Yield whether the lock was free; if it was, it is held exclusively."""
        with self._open() as handle:
            yield _try(handle, name)

    @contextlib.contextmanager
    def shared(self, name: str) -> Iterator[None]:
        """Hold the lock together with others; waits for an exclusive holder."""
        with self._open() as handle:
            fcntl.fcntl(handle, _SET_AND_WAIT, _range(fcntl.F_RDLCK, name))
            yield

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        """Open the file again: each holder needs an open file of its own."""
        handle = os.open(f"/proc/self/fd/{self._descriptor}", _OPEN)
        try:
            yield handle
        finally:
            os.close(handle)


def _try(handle: int, name: str) -> bool:
    """Lock the range without waiting; return whether it is locked."""
    try:
        fcntl.fcntl(handle, _SET, _range(fcntl.F_WRLCK, name))
    except OSError as exc:
        if exc.errno in _HELD:
            return False
        raise
    return True


def _range(kind: int, name: str) -> bytes:
    """A `struct flock` of one byte, whose offset is the digest of the name."""
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).digest()
    start = int.from_bytes(digest[:8], "big") % _LARGEST_OFFSET
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, start, 1, 0)


def _await(cancel: threading.Event | None, deadline: float | None) -> None:
    """Wait until the next attempt."""
    seconds = _POLL_SECONDS
    if deadline is not None:
        seconds = max(0.0, min(seconds, deadline - time.monotonic()))
    if cancel is None:
        time.sleep(seconds)
    else:
        cancel.wait(seconds)
