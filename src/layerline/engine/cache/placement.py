"""Layers whose files are those of a directory in another layer.

What an installation wrote is placed into images under a path, by hard links: the image's layer has
the same files, so its blob alone is sent.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.engine.image.layer_import import received_name
from layerline.engine.image.pack import Received, keep_received, received_of
from layerline.engine.store.file_metadata import FileMetadata
from layerline.engine.store.overlay import attributes, is_opaque, link_target
from layerline.engine.store.snapshot_walk import walk

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from layerline.engine.store.snapshot_walk import Found
    from layerline.engine.store.store import Store

_ROOT = (0o755, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The snapshot `layer` has the files of a tree in the directory `within` it."""

    layer: str
    within: str


def recognise_layer(
    store: Store, source: str, copy: Placement, *, epoch: int | None = None
) -> None:
    """Know a copy of a layer's directory by the blob of that layer, if it has the same files.

    What another machine has packed is not packed here again.
    """
    received, snapshots = received_of(store, source), store.snapshots
    if received is None or received.contents or received.within != copy.within:
        return
    layer = received_name(received.blob.digest)
    if copy.layer == layer or not snapshots.is_here(layer):
        return
    if _is_same_layer(snapshots.path(layer), snapshots.path(copy.layer)):
        keep_received(store, copy.layer, Received(blob=received.blob), epoch=epoch)


def _is_same_layer(one: Path, other: Path) -> bool:
    """Whether two layers have one tar: that of a root of the usual kind says nothing about it."""
    roots = [os.lstat(each) for each in (one, other)]
    names = [sorted(each.name for each in place.iterdir()) for place in (one, other)]
    is_usual = all((each.st_mode & 0o7777, each.st_uid, each.st_gid) == _ROOT for each in roots)
    if not is_usual or names[0] != names[1]:
        return False
    return all((one / name).is_dir() and is_placed([one / name], other / name) for name in names[0])


def is_placed(original: Sequence[Path], place: Path) -> bool:
    """Whether a directory has the files of a tree, as links to the same ones, and nothing else.

    The tree is given as its layers, bottom first.
    """
    try:
        found = {each.path: _identity(each) for each in walk(place)}
    except (FileNotFoundError, NotADirectoryError):
        return False
    wanted: dict[str, object] = {}
    for layer in original:
        wanted |= {each.path: _identity(each) for each in walk(layer)}
    return found == wanted


def _identity(entry: Found) -> object:
    """Equal for hard links to one file, and for directories and symbolic links that look alike."""
    status = entry.stat
    path = f"/proc/self/fd/{entry.directory}/{entry.name}"
    if stat.S_ISDIR(status.st_mode):
        return FileMetadata.of(status), attributes(path), is_opaque(path)
    if stat.S_ISLNK(status.st_mode):
        return FileMetadata.of(status), attributes(path), link_target(path)
    return status.st_dev, status.st_ino
