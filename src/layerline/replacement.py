"""A file that gets its name when it is complete.

Until then it has none: a process that is killed leaves nothing (open(2), O_TMPFILE). Where it
replaces another file it has a second name for the length of one call, as link(2) replaces nothing;
the next replacement of the same file takes away what a kill at that call leaves.

Standard library only and Python 3.9, as the doctor uses it too.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BUFFER = 1 << 20
# File systems without unnamed files: NFS, FAT, overlayfs of older kernels.
_NAMED_ONLY = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def replacing(place: Path) -> Iterator[BinaryIO]:
    """Yield a new file, of mode 0600, that replaces `place` if the block succeeds.

    A link at the place is replaced, not followed.
    """
    part = place.with_name(f".{hashlib.sha256(os.fsencode(place.name)).hexdigest()[:16]}.layerline")
    handle, is_named = _open_new(place, part)
    try:
        with os.fdopen(handle, "wb", buffering=_BUFFER) as file:
            yield file
            file.flush()
            if is_named:
                part.replace(place)
            else:
                _give_name(handle, place, part)
    except BaseException:
        if is_named:
            with contextlib.suppress(OSError):
                part.unlink()
        raise


@contextlib.contextmanager
def creating(place: Path) -> Iterator[BinaryIO]:
    """Yield a new file, of mode 0600, that is at `place` if the block succeeds.

    Raises FileExistsError if something exists by then: that stays as it is.
    """
    part = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
    handle, is_named = _open_new(place, part)
    try:
        with os.fdopen(handle, "wb", buffering=_BUFFER) as file:
            yield file
            file.flush()
            if is_named:
                os.link(part, place)
            else:
                _link(handle, place)
    finally:
        if is_named:
            with contextlib.suppress(OSError):
                part.unlink()


def _open_new(place: Path, part: Path) -> tuple[int, bool]:
    """Open a file without a name in the place's directory; where there is none such, `part`."""
    try:
        return os.open(place.parent, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600), False
    except OSError as exc:
        if exc.errno not in _NAMED_ONLY:
            raise
    part.unlink(missing_ok=True)
    return os.open(part, _NEW, 0o600), True


def _give_name(handle: int, place: Path, part: Path) -> None:
    """Link an open file at a place, or at `part` first if the place is taken."""
    with contextlib.suppress(FileExistsError):
        _link(handle, place)
        return
    while True:
        part.unlink(missing_ok=True)
        try:
            _link(handle, part)
            part.replace(place)
        except (FileExistsError, FileNotFoundError):
            continue  # another process replaces the same file
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
        return


def _link(handle: int, place: Path) -> None:
    # With a descriptor Python calls linkat(2), which follows the link of /proc.
    os.link(f"/proc/self/fd/{handle}", place, src_dir_fd=handle, follow_symlinks=True)
