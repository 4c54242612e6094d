"""Durable writes: write, fsync, rename, and fsync the directory.

Invariant: after `publish` or `sync_filesystem` has returned, a power cut loses nothing.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import TYPE_CHECKING

from layerline.errors import LayerlineError, NoSpace, StoreError

if TYPE_CHECKING:
    from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)


def publish(part: Path, final: Path) -> None:
    """Rename a finished file to its final name, atomically replacing any file there."""
    descriptor = os.open(part, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    part.replace(final)
    sync_directory(final.parent)


def write_file(path: Path, data: bytes, *, part: Path, mode: int = 0o600) -> None:
    """Write a small file atomically; `part` is a temporary name on the same file system."""
    with part.open("wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
    publish(part, path)


def sync_directory(path: Path) -> None:
    """Flush the names in a directory to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_filesystem(path: Path) -> None:
    """Flush the file system of `path` to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)


def is_full(exc: OSError) -> bool:
    """Whether a write failed because no space is left."""
    return exc.errno in (errno.ENOSPC, errno.EDQUOT)


def storage_error(exc: OSError, what: str) -> LayerlineError:
    """The error to show for a failed write; `what` says what failed."""
    if is_full(exc):
        return NoSpace(f"{what}: no space left on device: free some space, or set LAYERLINE_STORE")
    return StoreError(f"{what}: {exc.strerror}: check the disk of the store")
