"""A cache volume as chunks that other versions of it have as well.

The chunks are a tar in pieces. A large file (a wheel, a shared library) has chunks of its own, so
it is known by its content, wherever it lies; small files are collected, and names decide where a
collection ends, so a new file changes the chunk that it is in.
"""

from __future__ import annotations

import hashlib
import stat
import tarfile
from typing import TYPE_CHECKING

from layerline.engine.store.volume_archive import end_note, head_note, list_members
from layerline.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layerline.engine.store.usage import VolumeUse

LARGEST_CHUNK = 16 << 20
_LARGE_FILE = 1 << 20
_SMALLEST_COLLECTION = 256 << 10
_LARGEST_COLLECTION = 4 << 20
# One name in so many ends a collection: of small files that is some hundred kilobytes.
_NAMES = 32


def chunks_of(volume: VolumeUse) -> Iterator[bytes]:
    """Yield the chunks of a volume's tar, of LARGEST_CHUNK bytes at most."""
    collected = bytearray(head_note(volume.identity))
    count = 0
    for found, path in list_members(volume):
        member = found.replace(uname="", gname="", deep=False)  # they are this machine's
        collected += member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        count += 1
        size = member.size if member.isreg() else 0
        if size >= _LARGE_FILE:
            yield bytes(collected)
            yield from _pieces(path, size)
            collected = bytearray()
        elif size:
            collected += b"".join(_pieces(path, size))
        collected += bytes(-size % tarfile.BLOCKSIZE)
        if _is_full(member.name, len(collected)):
            yield bytes(collected)
            collected.clear()
    yield bytes(collected) + end_note(count)


def _is_full(name: str, size: int) -> bool:
    if size >= _LARGEST_COLLECTION:
        return True
    mark = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[0]
    return size >= _SMALLEST_COLLECTION and mark % _NAMES == 0


def _pieces(path: Path, size: int) -> Iterator[bytes]:
    left = size
    with path.open("rb") as file:
        while left:
            data = file.read(min(left, LARGEST_CHUNK))
            if not data or not stat.S_ISREG(path.lstat().st_mode):
                message = f"{path} changed while it was read: try again"
                raise StoreError(message)
            left -= len(data)
            yield data
