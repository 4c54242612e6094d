"""Layers whose files are those of a directory in another layer.

What an installation wrote is placed into images under a path, by hard links: the image's layer has
the same files, so its blob alone is sent.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.engine.store.file_metadata import FileMetadata
from layerline.engine.store.overlay import attributes, is_opaque, link_target
from layerline.engine.store.snapshot_walk import walk

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.store.snapshot_walk import Found


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The snapshot `layer` has the files of another one in the directory `within` it."""

    layer: str
    within: str


def is_placed(original: Path, place: Path) -> bool:
    """Whether a directory has the files of a layer, as links to the same ones, and nothing else."""
    try:
        found = {each.path: _identity(each) for each in walk(place)}
    except (FileNotFoundError, NotADirectoryError):
        return False
    count = 0
    for each in walk(original):
        count += 1
        if found.get(each.path) != _identity(each):
            return False
    return count == len(found)


def _identity(entry: Found) -> object:
    """Equal for hard links to one file, and for directories and symbolic links that look alike."""
    status = entry.stat
    path = f"/proc/self/fd/{entry.directory}/{entry.name}"
    if stat.S_ISDIR(status.st_mode):
        return FileMetadata.of(status), attributes(path), is_opaque(path)
    if stat.S_ISLNK(status.st_mode):
        return FileMetadata.of(status), attributes(path), link_target(path)
    return status.st_dev, status.st_ino
