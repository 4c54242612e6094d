"""The digests of the directories in an import: what a part of it is known by, without reading it.

They are a record for speed: where it is missing, the directory is read.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from layerline.engine.store.digest import canonical, parse_digest
from layerline.errors import StoreDamaged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from layerline.engine.store.store import Store

_TABLE = "import"
_PREFIX = "import-"


def import_name(digest: str) -> str:
    """The name of the snapshot of an import with this digest."""
    return f"{_PREFIX}{digest}"


def is_import(snapshot: str) -> bool:
    """Whether a snapshot is an import of files of this machine."""
    return snapshot.startswith(_PREFIX)


def record_directories(store: Store, snapshot: str, directories: Mapping[str, str]) -> None:
    """Record the digests of the directories below an import, by their relative paths."""
    if directories and store.index.get(_TABLE, _key(snapshot)) is None:
        blob = store.blobs.put(canonical(directories))
        row: dict[str, object] = {"directories": blob.digest}
        store.index.put(_TABLE, _key(snapshot), row, snapshots=(snapshot,))


def digest_in_import(store: Store, snapshot: str, path: str) -> str | None:
    """The digest of a directory at an absolute path, times not included.

    None if the snapshot is not an import, or nothing is recorded of the path.
    """
    if not is_import(snapshot):
        return None
    if path == "/":
        return snapshot.removeprefix(_PREFIX)
    row = store.index.get(_TABLE, _key(snapshot))
    if row is None:
        return None
    try:
        directories = json.loads(store.blobs.read(parse_digest(str(row["directories"]))))
    except StoreDamaged:  # or pruned
        return None
    found = directories.get(path.strip("/"))
    return None if found is None else str(found)


def _key(snapshot: str) -> str:
    return f"directories {snapshot}"
