"""What a call will need on the disk, according to its last run: what that run used and is gone.

Invariant: a call that was never run, or whose results exist, is never refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

from layerline.engine.store import manifest
from layerline.engine.store.usage import places, reclaimable
from layerline.errors import NoSpace
from layerline.quantities import format_size

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

_FILE = "forecast.json"
_KEPT = 50  # calls, those that were run last


def remember_usage(root: Path, call: str, snapshots: Collection[str], *, since: float) -> None:
    """Record what a call has used: these snapshots, and the blobs used since a time.

    The time is in seconds since the epoch.
    """
    sizes = {}
    for name in snapshots:
        place = root / "snapshots" / name
        sizes[str(place.relative_to(root))] = manifest.recorded_size(place / manifest.NAME) or 0
    for place in places(root, "blob"):
        info = place.lstat()
        if info.st_mtime >= since:
            sizes[str(place.relative_to(root))] = info.st_size
    known = _read(root)
    known[call] = {"time": time.time(), "sizes": sizes}
    latest = sorted(known, key=lambda key: float(known[key]["time"]))[-_KEPT:]
    with contextlib.suppress(OSError):  # a full disk: the next call has no forecast
        part = root / "scratch" / f"{_FILE}.{os.getpid()}"
        part.write_text(json.dumps({key: known[key] for key in latest}))
        part.replace(root / _FILE)


def require_room(root: Path, call: str, config: Path) -> None:
    """Raise NoSpace if a call needs more than is free, as far as its last run shows."""
    needed = forecast(root, call)
    if needed == 0:
        return
    disk = os.statvfs(root)
    free = disk.f_bavail * disk.f_frsize
    if needed <= free:
        return
    message = (
        f"this call is likely to need {format_size(needed)}, as its last run did, and "
        f"{format_size(free)} are free on the disk of {root}: {_way_out(root, needed - free)}; "
        f"or set forecast = false in [storage] of {config}"
    )
    raise NoSpace(message)


def forecast(root: Path, call: str) -> int:
    """The bytes of what the last run of a call used, and does not exist any more."""
    sizes = _read(root).get(call, {}).get("sizes", {})
    return sum(size for name, size in sizes.items() if not os.path.lexists(root / name))


def _way_out(root: Path, missing: int) -> str:
    total, complete = reclaimable(root)
    if complete and total < missing:
        return (
            f"pruning would free only {format_size(total)}: free {format_size(missing - total)} "
            "elsewhere, or set LAYERLINE_STORE to another disk"
        )
    keep = max(0, total - missing) // 10**6
    return f"'layerline store prune --keep-storage {keep}MB' would free enough"


def _read(root: Path) -> dict[str, Any]:
    try:
        found = json.loads((root / _FILE).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
