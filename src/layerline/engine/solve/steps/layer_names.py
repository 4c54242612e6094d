"""The name of a layer that is the same wherever it is placed.

A directory that is copied as it is gives the same layer over every base, if the directories on the
way to it look the same. Such a layer is named by what is in it, so it is made, packed and pushed
once for all images that have it.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from layerline.engine.store.digest import digest_of
from layerline.engine.store.overlay import attributes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.engine.store.tree import Entry, Tree

_EPOCH = 1


def copied_layer_name(
    names: tuple[str, ...], source: Tree, source_path: str, base: Tree, path: str
) -> str | None:
    """The name of the layer of an unfiltered directory at `path` of `base`.

    `names` are the snapshots of the source. None where what is below decides what is in the layer.
    """
    resolved, existing = base.resolve(path)
    if existing is not None and (
        not existing.is_dir or _is_diverted(source, source_path, base, existing)
    ):
        return None
    metadata = [_metadata(entry) for entry in _directories_above(base, resolved)]
    return digest_of(["placed", _EPOCH, names, source_path, resolved, metadata])


def _directories_above(base: Tree, resolved: str) -> Iterator[Entry | None]:
    """The root and the directories that lead to a resolved path, without it."""
    while resolved != "/":
        resolved = posixpath.dirname(resolved)
        yield base.find(resolved)


def _metadata(entry: Entry | None) -> list[object] | None:
    if entry is None:
        return None
    status = entry.stat
    extended = {name: value.hex() for name, value in attributes(entry.location).items()}
    return [entry.mode, status.st_uid, status.st_gid, status.st_mtime_ns, extended]


def _is_diverted(source: Tree, source_path: str, base: Tree, existing: Entry) -> bool:
    """Whether the base has a link where the source has a directory."""
    pending = [(source.lookup(source_path), existing)]
    while pending:
        ours, theirs = pending.pop()
        below = {entry.name: entry for entry in base.children(theirs)}
        for entry in source.children(ours):
            met = below.get(entry.name)
            if met is None or not entry.is_dir:
                continue
            if met.is_symlink:
                return True
            if met.is_dir:
                pending.append((entry, met))
    return False
