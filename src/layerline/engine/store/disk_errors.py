"""Failures of a disk as errors: what failed, where, how much is missing, and what to do about it.

Space that only root may use, ext4's reserved blocks, is not free space.
"""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.engine.store.format import find_store
from layerline.engine.store.usage import reclaimable
from layerline.errors import HostError, LayerlineError, NoSpace, StoreError
from layerline.quantities import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

FULL_BYTES = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)
_BROKEN = (*_FULL, errno.EROFS, errno.EIO)
_OF_A_NAME = (errno.ENAMETOOLONG, errno.ELOOP)  # whoever named it can only name another
_REASONS = {
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.ENOTDIR: "not a directory",
    errno.EEXIST: "not a directory",
    errno.EIO: "input/output error",
    errno.EISDIR: "is a directory",
    errno.ENAMETOOLONG: "file name too long",
    errno.ELOOP: "too many levels of symbolic links",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a write was about: the bytes it needs in total, and those written before it failed."""

    needed: int | None = None
    written: int | None = None

    def __str__(self) -> str:
        """The text after the free space, or nothing."""
        if self.needed is not None:
            return f", {format_size(self.needed)} needed"
        if self.written:
            return f", more than {format_size(self.written)} needed"
        return ""


UNKNOWN = Demand()


def is_disk_failure(exc: OSError) -> bool:
    """Whether the disk is the reason, whatever the call was about."""
    return exc.errno in _BROKEN


def is_disk_full(place: Path) -> bool:
    """Whether an ordinary user has no space or no inodes left."""
    disk = os.statvfs(place)
    return disk.f_bavail * disk.f_frsize < FULL_BYTES or (disk.f_files > 0 and not disk.f_favail)


def known_failure(exc: BaseException, what: str, store: Path) -> LayerlineError | None:
    """The error to show for what was raised: a known one, or what the disk refused; else None.

    `what` failed is said of a disk or a path that failed outside of any `disk_errors`.
    """
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    if isinstance(exc, LayerlineError):
        return exc
    if isinstance(exc, OSError) and (is_disk_failure(exc) or exc.errno in _OF_A_NAME):
        return storage_error(exc, what, store, store=store)
    return None


@contextlib.contextmanager
def disk_errors(what: str, place: Path) -> Iterator[None]:
    """Raise what the disk of `place` refuses in the block as an error; other errors pass."""
    try:
        yield
    except OSError as exc:
        if not is_disk_failure(exc):
            raise
        raise storage_error(exc, what, place) from exc


@contextlib.contextmanager
def write_errors(
    what: str, place: Path, *, needed: int | None = None, store: Path | None = None
) -> Iterator[None]:
    """Raise any OSError in a block that writes to the host's path `place` as an error."""
    try:
        yield
    except OSError as exc:
        raise storage_error(exc, what, place, Demand(needed=needed), store=store) from exc


def storage_error(
    exc: OSError, what: str, place: Path, demand: Demand = UNKNOWN, *, store: Path | None = None
) -> LayerlineError:
    """The error to show for a failed system call.

    `what` says what failed, `place` where. `store` is the store, if the place is outside it.
    """
    root = store or find_store(place)
    if exc.errno in _FULL:
        return no_space(what, place, demand, quota=exc.errno == errno.EDQUOT, store=root)
    where = place
    if isinstance(exc.filename, str) and exc.filename.startswith("/"):
        where = Path(exc.filename)  # others are relative to a descriptor
    inside = root is not None and (where == root or root in where.parents)
    kind = StoreError if inside else HostError
    what = what if what.endswith(str(where)) else f"{what}: {where}"
    inside = inside or (root == place and where in place.parents)  # which could not be created
    if exc.errno not in _REASONS:
        hint = ": set LAYERLINE_STORE to another directory" if inside else ""
        return kind(f"{what}: {(exc.strerror or str(exc)).lower()}{hint}")
    hint = _way_out(exc, where, inside=inside)
    return kind(f"{what}: {_REASONS[exc.errno]}: {hint}")


def no_space(
    what: str,
    place: Path,
    demand: Demand = UNKNOWN,
    *,
    quota: bool = False,
    store: Path | None = None,
) -> NoSpace:
    """The error for a full disk, with what pruning would free."""
    existing = _existing(place)
    disk = os.statvfs(existing)
    free = disk.f_bavail * disk.f_frsize
    missing = "space"
    if disk.f_files and not disk.f_favail and free >= FULL_BYTES:
        missing = "inodes"
    reason = "disk quota exceeded on" if quota else f"no {missing} left on device"
    where = f"{_mount_point(existing)} ({format_size(free)} free{demand})"
    return NoSpace(f"{what}: {reason} {where}: {_ways_to_free(existing, store)}")


def _ways_to_free(place: Path, store: Path | None) -> str:
    if store is None or _existing(store).stat().st_dev != place.stat().st_dev:
        return "free some space there, or use another disk"
    size, complete = reclaimable(store)
    other = "set LAYERLINE_STORE to another disk"
    if size == 0:
        return f"free some space there, or {other}; 'layerline store prune' would free nothing"
    about = format_size(size) if complete else f"more than {format_size(size)}"
    return f"'layerline store prune --keep-storage 0' would free {about}; or {other}"


def _way_out(exc: OSError, place: Path, *, inside: bool) -> str:
    other = "set LAYERLINE_STORE to another directory" if inside else "use another path"
    if exc.errno == errno.EROFS:
        return f"mount it writable, or {other}"
    if exc.errno in (errno.EACCES, errno.EPERM):
        owner = _existing(place).stat().st_uid
        # In a user namespace, whoever it has no id for is shown as the same nobody.
        who = "who" if owner == _overflow_id() else f"with id {owner}, who"
        return f"run as the user {who} owns it, or {other}"
    return f"check the disk, or {other}" if exc.errno == errno.EIO else other


def _overflow_id() -> int:
    """The id that user_namespaces(7) shows for owners without one in the namespace."""
    try:
        return int(Path("/proc/sys/kernel/overflowuid").read_text())
    except (OSError, ValueError):
        return -1


def _existing(place: Path) -> Path:
    """The place, or the closest directory above it that exists."""
    for each in (place.absolute(), *place.absolute().parents):
        with contextlib.suppress(OSError):
            each.stat()
            return each
    return Path("/")


def _mount_point(place: Path) -> Path:
    """The directory that the file system of a place is mounted at."""
    here = place.resolve()
    while not here.is_mount() and here != here.parent:
        here = here.parent
    return here
