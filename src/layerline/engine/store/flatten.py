"""Merges many layers into one by hard links, since overlayfs mounts at most 500.

Invariant: the merged layer can replace the many in any stack: it hides the same entries below.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.engine.store.devices import device_status
from layerline.engine.store.file_metadata import FileMetadata, apply_metadata, clone
from layerline.engine.store.overlay import (
    attributes,
    is_opaque,
    is_whiteout,
    make_opaque,
    make_whiteout,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


def flatten(layers: Sequence[Path], place: Path) -> None:
    """Fill the empty directory `place` with the merged layers, given bottom first."""
    pending = [(tuple(str(layer) for layer in reversed(layers)), str(place))]
    made: list[tuple[str, str]] = []
    while pending:
        parts, here = pending.pop()
        made.append((parts[0], here))
        for name, found in _names(parts).items():
            child = f"{here}/{name}"
            info = device_status(found[0], os.lstat(found[0]))
            if stat.S_ISDIR(info.st_mode):
                pending.append((_directory(found, child), child))
            elif is_whiteout(info):
                make_whiteout(child)
            else:
                clone(found[0], info, child, FileMetadata.of(info), share=True)
    for origin, here in reversed(made):
        apply_metadata(here, FileMetadata.of(os.lstat(origin)), attributes(origin))


def _names(parts: tuple[str, ...]) -> dict[str, list[str]]:
    """The locations of each name, top first."""
    found: dict[str, list[str]] = {}
    for part in parts:
        with os.scandir(part) as listing:
            for item in listing:
                found.setdefault(item.name, []).append(item.path)
    return found


def _directory(found: Sequence[str], place: str) -> tuple[str, ...]:
    """Create a directory and return the ones that it merges."""
    Path(place).mkdir()
    parts: list[str] = []
    for location in found:
        if not stat.S_ISDIR(os.lstat(location).st_mode):
            make_opaque(place)
            break
        parts.append(location)
        if is_opaque(location):
            make_opaque(place)
            break
    return tuple(parts)
