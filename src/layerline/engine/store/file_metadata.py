"""Copies of files, links and devices, and the metadata of entries: owner, mode, times, attributes.

Invariant: the original is never written to; it is shared as a hard link only where the caller says
that it never changes.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from layerline.engine.store.cancellation import check_cancelled
from layerline.engine.store.devices import make_device
from layerline.engine.store.overlay import attributes, link_target
from layerline.errors import PathError, PrivilegeMissing
from layerline.kernel import in_user_namespace

_UNSHARABLE = {errno.EXDEV, errno.EMLINK, errno.EPERM}
_COPY_CHUNK = 1 << 26
NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMetadata:
    """Owner, mode and times of an entry; times are in nanoseconds."""

    owner: tuple[int, int]
    mode: int
    mtime_ns: int

    @classmethod
    def of(
        cls,
        info: os.stat_result,
        *,
        owner: tuple[int, int] | None = None,
        mode: int | None = None,
        mtime: int | None = None,
    ) -> FileMetadata:
        """The metadata of an entry, with overrides; `mtime` is in seconds."""
        return cls(
            owner=(info.st_uid, info.st_gid) if owner is None else owner,
            mode=stat.S_IMODE(info.st_mode) if mode is None else mode,
            mtime_ns=info.st_mtime_ns if mtime is None else mtime * NANOSECONDS,
        )


def clone(
    source: str, info: os.stat_result, place: str, metadata: FileMetadata, *, share: bool
) -> None:
    """Copy `source`, which is not a directory, to `place`; `share` allows a hard link."""
    check_cancelled()
    if share and metadata == FileMetadata.of(info) and _try_link(source, info, place):
        return
    kind = stat.S_IFMT(info.st_mode)
    if kind == stat.S_IFREG:
        _copy_bytes(source, place)
    elif kind == stat.S_IFLNK:
        Path(place).symlink_to(link_target(source))
    elif kind in (stat.S_IFIFO, stat.S_IFSOCK):
        os.mknod(place, kind | 0o600)
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        _make_device(place, kind, info.st_rdev)
    else:
        message = f"{place}: cannot copy a file of unknown type"
        raise PathError(message)
    apply_metadata(place, metadata, attributes(source))


def apply_metadata(
    place: str, metadata: FileMetadata, xattrs: dict[str, bytes] | None = None
) -> None:
    """Set owner, mode, attributes and times, in this order: each can reset the ones after it."""
    info = os.lstat(place)
    link = stat.S_ISLNK(info.st_mode)
    values = attributes(place) if xattrs is None else xattrs
    if (info.st_uid, info.st_gid) != metadata.owner:
        _set_owner(place, metadata.owner)
    if not link:
        Path(place).chmod(metadata.mode)
    for name, value in values.items():
        os.setxattr(place, name, value, follow_symlinks=False)
    os.utime(place, ns=(metadata.mtime_ns, metadata.mtime_ns), follow_symlinks=False)


def unmapped_owner(owner: tuple[int, int], exc: OSError) -> str | None:
    """Why an owner could not be set, where this user has no subordinate id for it."""
    if exc.errno != errno.EINVAL or not in_user_namespace():
        return None
    return (
        f"the owner {owner[0]}:{owner[1]} is outside of this user's subordinate ids: "
        "add a larger range to /etc/subuid and /etc/subgid, or run it as root"
    )


def _set_owner(place: str, owner: tuple[int, int]) -> None:
    try:
        os.chown(place, *owner, follow_symlinks=False)
    except OSError as exc:
        if (reason := unmapped_owner(owner, exc)) is not None:
            raise PrivilegeMissing(reason) from exc
        raise


def _try_link(source: str, info: os.stat_result, place: str) -> bool:
    if not stat.S_ISREG(info.st_mode):
        return False
    try:
        os.link(source, place, follow_symlinks=False)
    except OSError as exc:
        if exc.errno in _UNSHARABLE:
            return False
        raise
    return True


def _make_device(place: str, kind: int, device: int) -> None:
    try:
        make_device(place, kind, device)
    except PermissionError as exc:
        message = f"{place}: only root can create a device: run layerline as root, or leave it out"
        raise PrivilegeMissing(message) from exc


def _copy_bytes(source: str, place: str) -> None:
    """Copy a file's bytes; holes stay holes."""
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        writing = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(reading).st_size
            _copy_data(reading, writing, size)
            os.ftruncate(writing, size)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy_data(reading: int, writing: int, size: int) -> None:
    at = 0
    while at < size:
        try:
            begin = os.lseek(reading, at, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(reading, begin, os.SEEK_HOLE)
        os.lseek(writing, begin, os.SEEK_SET)
        at = begin
        while at < end:
            check_cancelled()
            count = os.sendfile(writing, reading, at, min(end - at, _COPY_CHUNK))
            if count == 0:
                return
            at += count
