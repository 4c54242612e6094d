"""Digests of a tree: names, types, modes, owners, attributes, link targets and bytes.

Invariant: times and locations are not included: equal content has equal digests.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

from layerline.engine.store.cancellation import check_cancelled
from layerline.engine.store.digest import canonical
from layerline.engine.store.overlay import attributes, content_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from layerline.engine.store.tree import Entry, Tree

Part = tuple[str, bytes, bytes | None]
"""A path relative to the root, its header, and the digest of its payload: None for a directory."""


def tree_digest(tree: Tree, path: str = "/") -> str:
    """The digest of the directory or file at the path."""
    root = tree.lookup(path)
    if not root.is_dir:
        return hashlib.sha256(entry_header(root) + payload(root)).hexdigest()
    prefix = len(root.path.rstrip("/")) + 1
    parts: list[Part] = [
        (entry.path[prefix:], entry_header(entry), None if entry.is_dir else payload(entry))
        for entry in tree.walk(root.path)
    ]
    return combine(entry_header(root), parts)


def file_digest(location: str) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal digits."""
    descriptor = os.open(location, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combine(root: bytes, parts: Sequence[Part]) -> str:
    """The digest of a directory from the parts below it, parents before children."""
    listings: dict[str, list[tuple[bytes, bytes]]] = {}
    for path, head, found in reversed(parts):
        content = _listing(listings.pop(path, [])) if found is None else found
        above, _, name = path.rpartition("/")
        digest = hashlib.sha256(head + content).digest()
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
    return header(mode, owner, xattrs)


def _listing(children: list[tuple[bytes, bytes]]) -> bytes:
    hasher = hashlib.sha256()
    for name, digest in sorted(children):
        hasher.update(b"%d:%s%s" % (len(name), name, digest))
    return hasher.digest()
