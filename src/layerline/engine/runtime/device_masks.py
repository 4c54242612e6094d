"""Devices of an image that could not be created: a container's programs cannot take them for files.

Invariant: opening one fails with ENXIO, as opening a device without a driver does.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from layerline.engine.runtime.mounts import attach_file
from layerline.engine.store.devices import stand_ins
from layerline.engine.store.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from layerline.engine.runtime.confined_root import ConfinedRoot

_COVERED = "dev/"  # by the container's own


def mask_devices(layers: Sequence[Path], inside: ConfinedRoot, state: Path) -> None:
    """Show a socket that nobody listens on for each device; `layers` are given bottom first."""
    names = {name for layer in layers for name in stand_ins(layer)}
    tree = Tree(tuple(layers))
    for name in sorted(name for name in names if not name.startswith(_COVERED)):
        entry = tree.find(f"/{name}", follow=False)
        if entry is None or stat.S_IFMT(entry.stat.st_mode) not in (stat.S_IFCHR, stat.S_IFBLK):
            continue  # a layer above has removed or replaced it
        mask = state / "no-device"
        if not mask.exists():
            os.mknod(mask, stat.S_IFSOCK | 0o666)
        attach_file(mask, f"/{name}", inside)
