"""Differences between two directories of trees.

Invariant: a directory that both trees take from the same layers is not read: the cost grows with
the changes, not with the tree.
"""

from __future__ import annotations

import filecmp
import posixpath
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.engine.store.overlay import attributes
from layerline.errors import NotADirectory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from layerline.engine.store.tree import Entry, Tree


@dataclass(frozen=True, slots=True)
class TreeDirectory:
    """A directory of a tree."""

    tree: Tree
    path: str

    def entry(self) -> Entry:
        """The directory; an error if it does not exist or is a file."""
        entry = self.tree.lookup(self.path)
        if not entry.is_dir:
            message = f"path {self.path} is a file, not a directory"
            raise NotADirectory(message)
        return entry


@dataclass(frozen=True, slots=True)
class Difference:
    """A path, relative to both directories, that was added, removed or changed.

    A missing entry is None.
    """

    path: str
    before: Entry | None
    after: Entry | None

    @property
    def is_removed(self) -> bool:
        """Whether the old entry was removed, or replaced by one of another type."""
        if self.before is None:
            return False
        return self.after is None or self.before.is_dir != self.after.is_dir


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Paths as changesets show them, sorted; directories end in a slash.

    `removed` names a directory instead of what was in it, `all_removed` names everything.
    `modified` has the files whose content, type or executable bit differs.
    """

    added: tuple[str, ...]
    modified: tuple[str, ...]
    removed: tuple[str, ...]
    all_removed: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that differs."""
        paths = {*self.added, *self.modified, *self.all_removed}
        return tuple(sorted(path for path in paths if not path.endswith("/")))


def differences(before: TreeDirectory, after: TreeDirectory) -> list[Difference]:
    """The differences in content, mode, owner or time.

    The content of an added or removed directory is listed entry by entry.
    """
    found: list[Difference] = []
    pending: list[tuple[Entry | None, Entry | None, str]] = [(before.entry(), after.entry(), "")]
    while pending:
        old, new, prefix = pending.pop()
        if old is not None and new is not None and old.parts == new.parts:
            continue
        gone = {entry.name: entry for entry in before.tree.children(old)} if old else {}
        came = {entry.name: entry for entry in after.tree.children(new)} if new else {}
        for name in gone.keys() | came.keys():
            one, other = gone.get(name), came.get(name)
            if one is None or other is None or not _is_unchanged(one, other):
                found.append(Difference(prefix + name, one, other))
            directories = _if_directory(one), _if_directory(other)
            if directories != (None, None):
                pending.append((*directories, f"{prefix}{name}/"))
    found.sort(key=lambda difference: difference.path.encode(errors="surrogateescape"))
    return found


def changes(before: TreeDirectory, after: TreeDirectory) -> Changes:
    """The differences in a changeset: not times, owners and modes of directories."""
    added: list[str] = []
    modified: list[str] = []
    removed: list[str] = []
    for difference in differences(before, after):
        one, other = difference.before, difference.after
        if one is not None and other is not None and one.is_dir == other.is_dir:
            if not one.is_dir and not (
                _git_mode(one) == _git_mode(other) and _same_content(one, other)
            ):
                modified.append(difference.path)
            continue
        if one is not None:
            removed.append(_display_path(difference.path, one))
        if other is not None:
            added.append(_display_path(difference.path, other))
    return Changes(
        added=tuple(sorted(added)),
        modified=tuple(sorted(modified)),
        removed=tuple(topmost(removed)),
        all_removed=tuple(sorted(removed)),
    )


def parents(paths: Iterable[str]) -> set[str]:
    """The directories above the paths, without the root."""
    found: set[str] = set()
    for path in paths:
        above = posixpath.dirname(path)
        while above and above not in found:
            found.add(above)
            above = posixpath.dirname(above)
    return found


def topmost(paths: Iterable[str]) -> list[str]:
    """The paths, sorted, without those below another one of them."""
    kept: list[str] = []
    for path in sorted(paths, key=lambda path: path.split("/")):
        if not (kept and path.startswith(kept[-1].rstrip("/") + "/")):
            kept.append(path)
    return kept


def _if_directory(entry: Entry | None) -> Entry | None:
    return entry if entry is not None and entry.is_dir else None


def _is_unchanged(one: Entry, other: Entry) -> bool:
    if one.location == other.location:
        return True
    a, b = one.stat, other.stat
    if (a.st_mode, a.st_mtime_ns) != (b.st_mode, b.st_mtime_ns):
        return False
    if (a.st_uid, a.st_gid) != (b.st_uid, b.st_gid):
        return False
    if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino):
        return True
    if attributes(one.location) != attributes(other.location):
        return False
    return one.is_dir or _same_content(one, other)


def _same_content(one: Entry, other: Entry) -> bool:
    """Whether two entries of one type, other than directories, have the same content."""
    if one.is_symlink:
        return one.target == other.target
    if one.is_file:
        same_size = one.stat.st_size == other.stat.st_size
        return same_size and filecmp.cmp(one.location, other.location, shallow=False)
    return one.stat.st_rdev == other.stat.st_rdev


def _git_mode(entry: Entry) -> tuple[int, bool]:
    """The part of a mode that git tracks: the type, and whether a file is executable."""
    return stat.S_IFMT(entry.stat.st_mode), entry.is_file and bool(entry.mode & 0o111)


def _display_path(path: str, entry: Entry) -> str:
    return path + "/" if entry.is_dir else path
