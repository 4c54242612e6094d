"""The format of a store, and how a directory that is not a store of this version is refused.

Invariant: a refused directory is not changed.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from layerline.engine.store.ownership import OWNER_FILE, recorded_owner, require_owner
from layerline.errors import StoreVersion

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = "layerline store 1\n"
VERSION_FILE = "version"
# A call writes its log here, even if it fails before it opens the store.
_PARTS = ("version.", f"{OWNER_FILE}.")
_ALLOWED_NAMES = {"lost+found", "logs", OWNER_FILE}


def has_store(root: Path) -> bool:
    """Whether a directory is a store of this version; one that could become a store is not.

    Raises StoreVersion for any other directory, StoreError for another user's store, and OSError
    if it cannot be read.
    """
    if root.is_file():
        message = f"{root} is a file: set LAYERLINE_STORE to a directory"
        raise StoreVersion(message)
    owner = recorded_owner(root)
    found = _version(root)
    if found is None and _is_foreign(root):
        # Another process may have created the store just now.
        found = _version(root)
        if found is None:
            message = (
                f"{root} is not empty and is not a Layerline store: "
                "set LAYERLINE_STORE to another directory"
            )
            raise StoreVersion(message)
    if found is None:
        return False
    if found != FORMAT.encode():
        shown = found[:40].decode(errors="replace").strip()
        message = (
            f"unsupported store version '{shown}' in {root}, expected '{FORMAT.strip()}': "
            "use the Layerline that created it, or set LAYERLINE_STORE to another directory"
        )
        raise StoreVersion(message)
    require_owner(root, owner)
    return True


def find_store(place: Path) -> Path | None:
    """The store that a path lies in, or None."""
    for each in (place, *place.parents):
        with contextlib.suppress(OSError):
            if (each / VERSION_FILE).read_bytes() == FORMAT.encode():
                return each
    return None


def _version(root: Path) -> bytes | None:
    try:
        return (root / VERSION_FILE).read_bytes()
    except FileNotFoundError:
        return None


def _is_foreign(root: Path) -> bool:
    """Whether a directory has content that is not of a store."""
    try:
        names = {each.name for each in root.iterdir() if not each.name.startswith(_PARTS)}
    except FileNotFoundError:
        return False
    return bool(names - _ALLOWED_NAMES)
