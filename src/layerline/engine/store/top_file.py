"""A file that an upper layer of a tree decides, whatever the layers below it have.

What a step has written is in its own layer: to read it, the layers of the image that the step ran
in need not be fetched.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from layerline.engine.store.overlay import is_opaque
from layerline.engine.store.tree import clean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from layerline.engine.store.snapshots import Snapshots


def layer_of_file(snapshots: Snapshots, names: Sequence[str], path: str) -> str | None:
    """The snapshot of a tree, bottom first, whose regular file is at a path.

    Looks from the top and fetches one snapshot at most: None if that does not say it. Raises
    NotFetched.
    """
    parts = clean(path).split("/")[1:]
    has_fetched = False
    for name in reversed(names):
        if not snapshots.is_here(name):
            if has_fetched:
                return None
            has_fetched = True
            snapshots.require([name])
        found = _has_file(snapshots.path(name), parts)
        if found is not None:
            return name if found else None
    return None


def _has_file(layer: Path, parts: Sequence[str]) -> bool | None:
    """Whether a layer has a regular file at a path; None if it says nothing of the path.

    A link, a whiteout or another entry on the way is for those who know all layers.
    """
    place, is_closed = str(layer), False
    for number, part in enumerate(parts, 1):
        place = f"{place}/{part}"
        try:
            mode = os.lstat(place).st_mode
        except FileNotFoundError:
            return False if is_closed else None
        if number == len(parts):
            return stat.S_ISREG(mode)
        if not stat.S_ISDIR(mode):
            return False
        is_closed = is_closed or is_opaque(place)
    return None
