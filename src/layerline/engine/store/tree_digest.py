"""Digests of a tree: names, types, modes, owners, attributes, link targets and bytes.

Invariant: locations are not included, times only where they are asked for: equal content has equal
digests.
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.engine.store.cancellation import check_cancelled
from layerline.engine.store.digest import canonical
from layerline.engine.store.overlay import attributes, content_name
from layerline.patterns import Decision

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from layerline.engine.store.tree import Entry, Tree
    from layerline.patterns import PathPredicate

_CHUNK = 1 << 18

Part = tuple[str, bytes, bytes | None]
"""A path relative to the root, its header, and the digest of its payload: None for a directory."""


class TooLarge(Exception):
    """A tree has more entries or bytes than its digest may read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What of a tree a digest is made from.

    `path_filter` gets paths relative to the directory. With `times` modification times count.
    TooLarge is raised beyond `entries` or `size` in bytes.
    """

    path_filter: PathPredicate | None = None
    times: bool = False
    entries: int | None = None
    size: int | None = None

    def header(self, entry: Entry) -> bytes:
        """The header of an entry, with its time where that counts."""
        time = b"%d\0" % entry.stat.st_mtime_ns if self.times else b""
        return entry_header(entry) + time


EVERYTHING = Selection()


def tree_digest(tree: Tree, path: str = "/", selection: Selection = EVERYTHING) -> str:
    """The digest of the directory or file at the path; a filter is for directories only."""
    root = tree.lookup(path)
    if not root.is_dir:
        _check_size(selection, 1, root.stat.st_size)
        return hashlib.sha256(selection.header(root) + payload(root)).hexdigest()
    prefix = len(root.path.rstrip("/")) + 1
    found = list(_selected(tree, root, prefix, selection))
    parts: list[Part] = [
        (entry.path[prefix:], selection.header(entry), None if entry.is_dir else payload(entry))
        for entry in found
    ]
    return combine(selection.header(root), parts)


def _selected(tree: Tree, root: Entry, prefix: int, selection: Selection) -> Iterator[Entry]:
    """The entries below a directory that a copy with the filter has, parents before children."""
    size = 0
    for count, entry in enumerate(_kept(tree, root, prefix, selection.path_filter), 1):
        size += entry.stat.st_size if entry.is_file else 0
        _check_size(selection, count, size)
        yield entry


def _check_size(selection: Selection, entries: int, size: int) -> None:
    if selection.entries is not None and entries > selection.entries:
        raise TooLarge
    if selection.size is not None and size > selection.size:
        raise TooLarge


def _kept(
    tree: Tree, root: Entry, prefix: int, path_filter: PathPredicate | None
) -> Iterator[Entry]:
    if path_filter is None:
        yield from tree.walk(root.path)
        return
    # A directory that is only passed through counts once something in it is kept.
    passed: list[Entry] = []
    pending = tree.children(root)[::-1]
    while pending:
        entry = pending.pop()
        while passed and not entry.path.startswith(f"{passed[-1].path}/"):
            passed.pop()
        decision = path_filter(entry.path[prefix:], is_dir=entry.is_dir)
        if decision is Decision.DROP or (decision is Decision.PASS and not entry.is_dir):
            continue
        if decision is Decision.KEEP:
            yield from passed
            passed.clear()
            yield entry
        else:
            passed.append(entry)
        if entry.is_dir:
            pending.extend(reversed(tree.children(entry)))


def file_digest(location: str) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal digits."""
    descriptor = os.open(location, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        hasher = hashlib.sha256()
        while data := os.read(descriptor, _CHUNK):
            hasher.update(data)
        return hasher.hexdigest()
    finally:
        os.close(descriptor)


def combine(
    root: bytes, parts: Sequence[Part], *, directories: dict[str, str] | None = None
) -> str:
    """The digest of a directory from the parts below it, parents before children.

    Those of the directories below it are added to `directories`, by path.
    """
    listings: dict[str, list[tuple[bytes, bytes]]] = {}
    for path, head, found in reversed(parts):
        content = _listing(listings.pop(path, [])) if found is None else found
        above, _, name = path.rpartition("/")
        digest = hashlib.sha256(head + content).digest()
        if found is None and directories is not None:
            directories[path] = digest.hex()
        listings.setdefault(above, []).append((os.fsencode(name), digest))
    return hashlib.sha256(root + _listing(listings.get("", []))).hexdigest()


def header(mode: int, owner: tuple[int, int], xattrs: Mapping[str, bytes]) -> bytes:
    """The part of a digest other than name and payload; `mode` includes the file type."""
    named = [[name, value.hex()] for name, value in sorted(xattrs.items())]
    return canonical([mode, *owner, named]) + b"\0"


def payload(entry: Entry) -> bytes:
    """The digest of a file's bytes, a link's target or a device's number."""
    check_cancelled()
    if entry.is_file:
        return bytes.fromhex(file_digest(entry.location))
    data = os.fsencode(entry.target) if entry.is_symlink else b"%d" % entry.stat.st_rdev
    return hashlib.sha256(data).digest()


def entry_header(entry: Entry) -> bytes:
    """The header of an entry of a tree; the mode of a link is not included."""
    mode = stat.S_IFLNK if entry.is_symlink else entry.stat.st_mode
    owner = (entry.stat.st_uid, entry.stat.st_gid)
    xattrs = {content_name(name): value for name, value in attributes(entry.location).items()}
    return header(mode, owner, xattrs) if xattrs else _plain_header(mode, owner)


@functools.lru_cache(maxsize=1024)
def _plain_header(mode: int, owner: tuple[int, int]) -> bytes:
    return header(mode, owner, {})


def _listing(children: list[tuple[bytes, bytes]]) -> bytes:
    hasher = hashlib.sha256()
    for name, digest in sorted(children):
        hasher.update(b"%d:%s%s" % (len(name), name, digest))
    return hasher.digest()
