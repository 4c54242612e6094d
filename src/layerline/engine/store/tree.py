"""Reads layers as one file system, without mounting them.

Invariant: the result is what overlayfs would show, and no link, absolute or with "..", leads out of
the tree.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from layerline.engine.store.devices import device_status
from layerline.engine.store.overlay import is_opaque, is_whiteout, link_target
from layerline.errors import IsADirectory, NotADirectory, PathError, PathNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAX_LINKS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry of a tree. `path` is absolute in the tree, `location` on disk.

    For a directory, `parts` are the directories on disk that are merged in it, top first.
    """

    path: str
    location: str
    stat: os.stat_result
    parts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The base name; empty for the root."""
        return self.path.rpartition("/")[2]

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.stat.st_mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.stat.st_mode)

    @property
    def is_symlink(self) -> bool:
        return stat.S_ISLNK(self.stat.st_mode)

    @property
    def mode(self) -> int:
        """The permission bits, with setuid, setgid and sticky."""
        return stat.S_IMODE(self.stat.st_mode)

    @property
    def target(self) -> str:
        """The target of a symbolic link."""
        return link_target(self.location)

    def open(self) -> BinaryIO:
        """Open the file for reading.

        Raises PathError for everything but a regular file, and does not open it: a device of an
        image is the host's, and a FIFO blocks.
        """
        if self.is_dir:
            message = f"{self.path}: is a directory"
            raise IsADirectory(message)
        if not self.is_file:
            message = f"{self.path}: not a regular file"
            raise PathError(message)
        descriptor = os.open(self.location, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        return os.fdopen(descriptor, "rb")

    def read(self, limit: int = -1) -> bytes:
        """The bytes of the file, at most `limit` of them. Raises PathError as `open` does."""
        with self.open() as file:
            return file.read(limit)


def clean(path: str) -> str:
    """The normalised absolute path; ".." does not lead above the root."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del kept[-1:]
        elif part not in ("", "."):
            kept.append(part)
    return "/" + "/".join(kept)


@dataclass(frozen=True, slots=True)
class Tree:
    """The merged view of layers on disk, bottom first; there is at least one."""

    layers: tuple[Path, ...]

    def lookup(self, path: str, *, follow: bool = True) -> Entry:
        """The entry at the path. Links on the way are followed; with `follow`, the last one too."""
        where, entry = self.resolve(path, follow=follow)
        if entry is None:
            raise PathNotFound(path if clean(path) == where else where)
        return entry

    def find(self, path: str, *, follow: bool = True) -> Entry | None:
        """The entry at the path, or None."""
        try:
            return self.resolve(path, follow=follow)[1]
        except NotADirectory:
            return None

    def scan(self, path: str = "/") -> list[Entry]:
        """The children of a directory, sorted by the bytes of their names."""
        entry = self.lookup(path)
        if not entry.is_dir:
            message = f"{path}: not a directory"
            raise NotADirectory(message)
        return self.children(entry)

    def children(self, directory: Entry) -> list[Entry]:
        """The children of a directory entry, sorted by the bytes of their names."""
        found: dict[str, tuple[os.DirEntry[str], list[str]]] = {}
        closed: set[str] = set()
        last = len(directory.parts) - 1
        for depth, part in enumerate(directory.parts):
            with os.scandir(part) as listing:
                for item in listing:
                    if item.name not in closed:
                        _merge(item, found, closed, bottom=depth == last)
        prefix = directory.path.rstrip("/") + "/"
        entries = [
            Entry(
                path=prefix + name,
                location=item.path,
                stat=device_status(item.path, item.stat(follow_symlinks=False)),
                parts=tuple(parts),
            )
            for name, (item, parts) in found.items()
        ]
        entries.sort(key=lambda entry: os.fsencode(entry.path))
        return entries

    def walk(self, path: str = "/") -> Iterator[Entry]:
        """The entries below a directory, parents before children; links are not followed."""
        pending = self.scan(path)[::-1]
        while pending:
            entry = pending.pop()
            yield entry
            if entry.is_dir:
                pending.extend(reversed(self.children(entry)))

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading. Raises PathError for everything but a regular file."""
        return self.lookup(path).open()

    def read(self, path: str, limit: int | None = None) -> bytes:
        """The bytes of a file, at most `limit` of them."""
        with self.open(path) as file:
            return file.read(-1 if limit is None else limit)

    def resolve(self, path: str, *, follow: bool = True) -> tuple[str, Entry | None]:
        """The path once its links are followed, and the entry at it.

        For a missing entry it is the path at which to create it.
        """
        pending = clean(path).split("/")[:0:-1]
        trail: list[tuple[str, Entry | None]] = [("", self._root())]
        links = 0
        while pending:
            name = pending.pop()
            if name in ("", "."):
                continue
            if name == "..":
                del trail[max(1, len(trail) - 1) :]
                continue
            here, parent = trail[-1]
            entry = None if parent is None else self.child(parent, name)
            if entry is not None and entry.is_symlink and (follow or pending):
                links += 1
                if links > _MAX_LINKS:
                    message = f"{path}: too many levels of symbolic links"
                    raise PathError(message)
                target = entry.target
                if target.startswith("/"):
                    del trail[1:]
                pending.extend(reversed(target.split("/")))
                continue
            trail.append((f"{here}/{name}", entry))
        where, entry = trail[-1]
        return where or "/", entry

    def child(self, directory: Entry, name: str) -> Entry | None:
        """The child of that name, or None; a link is not followed."""
        if not directory.is_dir:
            message = f"{directory.path}: not a directory"
            raise NotADirectory(message)
        parts: list[str] = []
        top: tuple[str, os.stat_result] | None = None
        for part in directory.parts:
            location = f"{part}/{name}"
            info = _lstat(location)
            if info is None:
                continue
            if top is None:
                top = (location, info)
            if not stat.S_ISDIR(info.st_mode):
                break
            parts.append(location)
            if is_opaque(location):
                break
        if top is None or is_whiteout(top[1]):
            return None
        path = f"{directory.path.rstrip('/')}/{name}"
        return Entry(path=path, location=top[0], stat=top[1], parts=tuple(parts))

    def _root(self) -> Entry:
        parts = tuple(str(layer) for layer in reversed(self.layers))
        return Entry(path="/", location=parts[0], stat=os.lstat(parts[0]), parts=parts)


def _merge(
    item: os.DirEntry[str],
    found: dict[str, tuple[os.DirEntry[str], list[str]]],
    closed: set[str],
    *,
    bottom: bool,
) -> None:
    """Merge one name of one layer into the children found in the layers above it."""
    name = item.name
    if item.is_dir(follow_symlinks=False):
        found.setdefault(name, (item, []))[1].append(item.path)
        if not bottom and is_opaque(item.path):
            closed.add(name)
        return
    closed.add(name)
    if name not in found and not is_whiteout(item.stat(follow_symlinks=False)):
        found[name] = (item, [])


def _lstat(location: str) -> os.stat_result | None:
    try:
        return device_status(location, os.lstat(location))
    except FileNotFoundError:
        return None
    except OSError as exc:
        if exc.errno == errno.ENAMETOOLONG:
            message = f"{location.rpartition('/')[2][:40]}...: file name too long"
            raise PathError(message) from exc
        raise
    except ValueError as exc:
        message = "a path cannot contain a NUL byte"
        raise PathError(message) from exc
