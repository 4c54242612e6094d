"""Walks and reads a directory of the host through directory handles.

Invariant: below the root no link is followed, not even one that replaces a directory during the
walk.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from layerline.errors import NotADirectory, PathError, PathNotFound
from layerline.patterns import Decision, PathPredicate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAX_DEPTH = 300
_KINDS = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Observation(NamedTuple):
    """A path and its metadata at the time of the walk. Paths are relative; the root is empty."""

    path: str
    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, path: str, info: os.stat_result) -> Observation:
        return cls(
            path, info.st_mode, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino
        )

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def state(self) -> list[int]:
        """The metadata that changes whenever the file does."""
        return list(self[1:])


@contextlib.contextmanager
def open_root(root: Path) -> Iterator[int]:
    """Open the root of a walk; a link to a directory is followed."""
    try:
        handle = os.open(root, _LIST)
    except FileNotFoundError as exc:
        raise PathNotFound(str(root)) from exc
    except NotADirectoryError as exc:
        message = f"{root}: not a directory"
        raise NotADirectory(message) from exc
    except PermissionError as exc:
        raise _permission_denied(str(root)) from exc
    try:
        yield handle
    finally:
        os.close(handle)


def walk(root: int, path_filter: PathPredicate | None) -> list[Observation]:
    """The root and the kept paths below it, parents first, sorted by the bytes of their names.

    Sockets, pipes and devices are left out.
    """
    found = [Observation.of("", os.fstat(root))]
    _visit(root, "", path_filter, found)
    return found


class Handles:
    """Opens the files of a walk. In the walk's order, each directory is opened once."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._stack: list[tuple[str, int]] = []

    def open(self, path: str) -> int:
        """A descriptor for reading a file; the caller closes it."""
        above, _, name = path.rpartition("/")
        try:
            return os.open(name, _READ, dir_fd=self._directory(above))
        except PermissionError as exc:
            raise _permission_denied(path) from exc

    def target(self, path: str) -> str:
        """The target of a link."""
        above, _, name = path.rpartition("/")
        return os.readlink(name, dir_fd=self._directory(above))

    def close(self) -> None:
        """Close all directories but the root."""
        while self._stack:
            os.close(self._stack.pop()[1])

    def _directory(self, path: str) -> int:
        while self._stack and not f"{path}/".startswith(f"{self._stack[-1][0]}/"):
            os.close(self._stack.pop()[1])
        here, handle = self._stack[-1] if self._stack else ("", self._root)
        for name in filter(None, path[len(here) :].split("/")):
            handle = os.open(name, _LIST | os.O_NOFOLLOW, dir_fd=handle)
            here = f"{here}/{name}" if here else name
            self._stack.append((here, handle))
        return handle


def _visit(
    handle: int, prefix: str, path_filter: PathPredicate | None, found: list[Observation]
) -> None:
    with os.scandir(handle) as listing:
        items = sorted(listing, key=lambda item: os.fsencode(item.name))
    for item in items:
        entry = _observe(item, prefix)
        if entry is None:
            continue
        decision = Decision.KEEP
        if path_filter is not None:
            decision = path_filter(entry.path, is_dir=entry.is_dir)
        if decision is Decision.DROP or (decision is Decision.PASS and not entry.is_dir):
            continue
        found.append(entry)
        if entry.is_dir:
            length = len(found)
            _enter(handle, item.name, entry.path, path_filter, found)
            if decision is Decision.PASS and len(found) == length:
                found.pop()


def _observe(item: os.DirEntry[str], prefix: str) -> Observation | None:
    try:
        info = item.stat(follow_symlinks=False)
    except FileNotFoundError:  # gone since the directory was listed
        return None
    if stat.S_IFMT(info.st_mode) not in _KINDS:
        return None
    return Observation.of(prefix + item.name, info)


def _enter(
    above: int, name: str, path: str, path_filter: PathPredicate | None, found: list[Observation]
) -> None:
    if path.count("/") >= _MAX_DEPTH:
        message = f"{path[:60]}...: nested more than {_MAX_DEPTH} directories deep"
        raise PathError(message)
    try:
        handle = os.open(name, _LIST | os.O_NOFOLLOW, dir_fd=above)
    except (FileNotFoundError, NotADirectoryError):  # replaced since the directory was listed
        return
    except PermissionError as exc:
        raise _permission_denied(path) from exc
    try:
        _visit(handle, f"{path}/", path_filter, found)
    finally:
        os.close(handle)


def _permission_denied(path: str) -> PathError:
    return PathError(f"{path}: permission denied: make it readable, or exclude it")
