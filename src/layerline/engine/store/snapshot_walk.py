"""Walks a layer as it is on disk, whiteouts and markers included, by open directories.

Invariant: no link is followed, and paths of any length are reached.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE = 700  # characters of a path in one call, after which the name ends; 4095 bytes are allowed


@dataclass(slots=True)
class Found:
    """An entry: `name` in the open directory `directory`; "." for the root."""

    path: str
    name: str
    directory: int
    stat: os.stat_result
    own: bool = False

    def xattrs(self) -> dict[str, str]:
        """All extended attributes, the values in hexadecimal digits."""
        return xattrs_of(f"/proc/self/fd/{self.directory}/{self.name}", follow_symlinks=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.own:
            os.close(self.directory)


def xattrs_of(place: str | int, *, follow_symlinks: bool = True) -> dict[str, str]:
    """The extended attributes at a path, or of a descriptor, which is three times as fast."""
    try:
        names = os.listxattr(place, follow_symlinks=follow_symlinks)
    except OSError as exc:
        if exc.errno in (errno.ENOTSUP, errno.ENOENT):
            return {}
        raise
    if not names:
        return {}
    return {name: os.getxattr(place, name, follow_symlinks=follow_symlinks).hex() for name in names}


def walk(fs: Path) -> Iterator[Found]:
    """The root and everything below it; an entry is valid until the next one is taken."""
    top = os.open(fs, _DIRECTORY)
    try:
        yield Found("", ".", top, os.fstat(top))
        pending = [""]
        while pending:
            path = pending.pop()
            directory = _open_below(top, path)
            try:
                prefix = f"{path}/" if path else ""
                with os.scandir(directory) as listing:
                    for item in listing:
                        info = item.stat(follow_symlinks=False)
                        if stat.S_ISDIR(info.st_mode):
                            pending.append(prefix + item.name)
                        yield Found(prefix + item.name, item.name, directory, info)
            finally:
                os.close(directory)
    finally:
        os.close(top)


def lookup(fs: Path, path: str) -> Found | None:
    """One entry, or None; it holds its directory open, so use it in a `with`."""
    above, _, name = path.rpartition("/")
    top = os.open(fs, _DIRECTORY)
    try:
        directory = _open_below(top, above)
    except (FileNotFoundError, NotADirectoryError):
        return None
    finally:
        os.close(top)
    try:
        info = os.stat(name or ".", dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        os.close(directory)
        return None
    return Found(path, name or ".", directory, info, own=True)


def _open_below(top: int, path: str) -> int:
    """Open a directory by its path from `top`, however long that is."""
    here = os.dup(top)
    rest = path
    while rest:
        piece, rest = _cut(rest)
        try:
            below = os.open(piece, _DIRECTORY, dir_fd=here)
        finally:
            os.close(here)
        here = below
    return here if path else _reopen(here)


def _reopen(directory: int) -> int:
    """A descriptor with a position of its own, to list the directory from its start."""
    try:
        return os.open(".", _DIRECTORY, dir_fd=directory)
    finally:
        os.close(directory)


def _cut(path: str) -> tuple[str, str]:
    if len(path) <= _PIECE:
        return path, ""
    at = path.find("/", _PIECE)
    return (path, "") if at < 0 else (path[:at], path[at + 1 :])
