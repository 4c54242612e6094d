"""Automatic pruning: between sessions, what was used longest ago goes once the store is too large.

Invariant: what the session that has just ended used stays, and so do volumes. Whether the store is
too large is known without a walk over it: the manifests have the sizes of snapshots.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline import log
from layerline.engine.store import manifest
from layerline.engine.store.pruning import choose, prune_selected
from layerline.engine.store.usage import places
from layerline.errors import StoreBusy, StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.store.usage import Item
    from layerline.storage import Storage

_COUNTED = "usage.json"  # the exact size when it was last counted, and the estimate at that time


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What automatic pruning removed, to keep at most `limit` bytes. `first`: never before."""

    items: tuple[Item, ...]
    limit: int
    first: bool

    @property
    def size(self) -> int:
        """The bytes that were freed."""
        return sum(item.size for item in self.items)


def prune_automatically(root: Path, storage: Storage, *, since: float) -> Pruned | None:
    """Prune the store if it is larger than its limit and no session is open.

    Nothing that was used after `since`, in seconds since the epoch, is removed.
    """
    if storage.keep is None:
        return None
    counted = _counted(root)
    estimate = estimated_size(root)
    used = counted.get("bytes", 0) + estimate - counted.get("estimate", 0)
    limit = _limit(root, storage, used)
    if limit is None or used <= limit:
        return None
    kept = 0

    def select(found: list[Item]) -> list[Item]:
        nonlocal limit, kept
        total = sum(item.size for item in found if item.kind != "volume")
        limit = _limit(root, storage, total)
        now = time.time()
        chosen = choose(found, keep_bytes=limit, keep_seconds=max(0.0, now - since), now=now)
        kept = total - sum(item.size for item in chosen)
        return chosen

    try:
        items = prune_selected(root, select, timeout=0.0)
    except (StoreBusy, StoreError) as exc:
        log.debug("no automatic pruning: %s", exc)
        return None
    first = not counted.get("pruned")
    _keep_count(root, {"bytes": kept, "estimate": estimated_size(root), "pruned": int(bool(items))})
    return Pruned(items=tuple(items), limit=limit or 0, first=first) if items else None


def estimated_size(root: Path) -> int:
    """About how many bytes layers and blobs take, by what is recorded of them."""
    total = 0
    for place in places(root, "snapshot"):
        total += manifest.recorded_size(place / manifest.NAME) or 0
    for blob in places(root, "blob"):
        with contextlib.suppress(OSError):
            total += blob.lstat().st_size
    return total


def prunable_size(found: list[Item], root: Path, storage: Storage) -> int:
    """The bytes that automatic pruning would free of these items of the store."""
    total = sum(item.size for item in found if item.kind != "volume")
    limit = _limit(root, storage, total)
    if limit is None:
        return 0
    gone = choose(found, keep_bytes=limit, keep_seconds=None, now=time.time())
    return sum(item.size for item in gone)


def _limit(root: Path, storage: Storage, used: int) -> int | None:
    disk = os.statvfs(root)
    size, free = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
    return storage.limit(disk=size, free=free, used=used)


def _counted(root: Path) -> dict[str, int]:
    try:
        document = json.loads((root / _COUNTED).read_text())
        return {str(name): int(value) for name, value in document.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _keep_count(root: Path, counted: dict[str, int]) -> None:
    with contextlib.suppress(OSError):  # a full disk: it is counted again the next time
        part = root / "scratch" / f"{_COUNTED}.{os.getpid()}"
        part.write_text(json.dumps(counted))
        part.replace(root / _COUNTED)
