"""The items of the store and their disk usage.

Invariant: a file that several layers share is counted once, for the newest of them: the sizes add
up to the disk usage. No link is followed out of the store.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.engine.store.mountpoints import mount_points_below

if TYPE_CHECKING:
    from collections.abc import Iterator

ITEM_KINDS = ("blob", "snapshot", "volume")
USES = "uses"  # of a volume: its size in bytes counts the uses, its mtime is the last one
_PRUNABLE = ("blob", "snapshot")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An item of the store. `used` is when it was last used, in seconds since the epoch."""

    kind: str
    name: str
    place: Path
    size: int
    used: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeUse:
    """A cache volume: `key` is the user's name for it, `identity` the full name."""

    key: str
    identity: str
    item: Item
    hits: int


class Sizes:
    """Measures trees; each file counts once, and nothing that is mounted in a tree."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()

    def of(self, path: Path) -> int:
        """The size in bytes of a file, or of a directory tree without what is mounted in it."""
        total = 0
        with contextlib.suppress(FileNotFoundError):  # others may remove it meanwhile
            info = path.lstat()
            total += self._count(info)
            if stat.S_ISDIR(info.st_mode):
                total += sum(self._below(str(path)))
        return total

    def _below(self, root: str) -> Iterator[int]:
        mounts = {str(place) for place in mount_points_below(Path(root))}
        waiting = [root]
        while waiting:
            with contextlib.suppress(OSError):  # gone meanwhile, or too deep to be named
                for entry in os.scandir(waiting.pop()):
                    if entry.path in mounts:
                        continue
                    info = entry.stat(follow_symlinks=False)
                    yield self._count(info)
                    if stat.S_ISDIR(info.st_mode):
                        waiting.append(entry.path)

    def _count(self, info: os.stat_result) -> int:
        mark = (info.st_dev, info.st_ino)
        if mark in self._seen:
            return 0
        if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
            self._seen.add(mark)
        # A file with holes takes less than its size. While the system writes a new file to the
        # disk, ext4 may tell too few blocks: its size is right a moment later.
        return min(info.st_size, info.st_blocks * 512)


def reclaimable(root: Path, *, seconds: float = 2.0) -> tuple[int, bool]:
    """The bytes that pruning could free at most, and whether all were counted in that time."""
    sizes, total, deadline = Sizes(), 0, time.monotonic() + seconds
    for kind in _PRUNABLE:
        for place in places(root, kind):
            if time.monotonic() > deadline:
                return total, False
            total += sizes.of(place)
    return total, True


def list_items(root: Path) -> list[Item]:
    """The items of the store, newest first."""
    dated = [
        (place.lstat().st_mtime if kind != "volume" else _last_use(place), kind, place)
        for kind in ITEM_KINDS
        for place in places(root, kind)
    ]
    sizes = Sizes()
    return [
        Item(kind=kind, name=place.name, place=place, size=sizes.of(place), used=used)
        for used, kind, place in sorted(dated, reverse=True)
    ]


def list_volumes(root: Path) -> list[VolumeUse]:
    """The cache volumes, by name."""
    sizes = Sizes()
    found = []
    for place in places(root, "volume"):
        identity = identity_of(place)
        item = Item(
            kind="volume",
            name=place.name,
            place=place,
            size=sizes.of(place / "data"),
            used=_last_use(place),
        )
        key = identity.rpartition("-")[0] or identity
        found.append(VolumeUse(key=key, identity=identity, item=item, hits=_hits(place)))
    return sorted(found, key=lambda volume: volume.identity)


def find_volumes(root: Path, name: str) -> list[VolumeUse]:
    """The volumes with this key, identity or directory name."""
    return [
        each for each in list_volumes(root) if name in (each.key, each.identity, each.item.name)
    ]


def identity_of(place: Path) -> str:
    """The identity of the cache volume in a directory, or the directory's name if it is lost."""
    try:
        return str(json.loads((place / "identity.json").read_bytes()))
    except (FileNotFoundError, ValueError):
        return place.name


def places(root: Path, kind: str) -> list[Path]:
    """The items of a kind; a store that was never opened has none."""
    directory = root / f"{kind}s"
    return list(directory.iterdir()) if directory.is_dir() else []


def _last_use(place: Path) -> float:
    uses = place / USES
    return (uses if uses.exists() else place).lstat().st_mtime


def _hits(place: Path) -> int:
    uses = place / USES
    return uses.stat().st_size if uses.exists() else 0
