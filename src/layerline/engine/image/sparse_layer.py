"""Layers without contents: their files are those of another layer.

What a step has written and another one has merged into a layer of an image is sent as that layer
and as a tar whose hard links lead to the layer's files. These lie in a directory of the unpacked
tar until it is complete. Hard links tell that two files are one.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from layerline.compression import ZSTD_LEVEL
from layerline.engine.image import stream
from layerline.engine.image.manifests import Compression
from layerline.engine.image.pack import Inode, LayerBlob, pack
from layerline.engine.store.flatten import flatten
from layerline.engine.store.rmtree import remove_tree
from layerline.engine.store.snapshot_walk import walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from layerline.engine.store.store import Store

_CONTENTS = ".layerline-contents"


def contents_of(store: Store, snapshot: str) -> Mapping[Inode, bytes]:
    """Where links of sparse layers lead to: the names of the files of a snapshot, by inode."""
    return {
        inode: os.fsencode(f"{_CONTENTS}/{path}")
        for path, inode, _ in _files(store.snapshots.path(snapshot))
    }


def pack_sparse(
    store: Store, snapshot: str, names: Mapping[Inode, bytes], *, epoch: int | None = None
) -> LayerBlob | None:
    """The blob of a snapshot without the contents that another one has, by `contents_of` that.

    None where that is less than half of its bytes.
    """
    place = store.snapshots.path(snapshot)
    sizes = {inode: size for _, inode, size in _files(place)}
    found = sum(size for inode, size in sizes.items() if inode in names)
    if not found or 2 * found < sum(sizes.values()):
        return None
    return _packed(store, place, names, epoch)


def _packed(
    store: Store, place: Path, names: Mapping[Inode, bytes], epoch: int | None
) -> LayerBlob:
    compressor, hasher = stream.LayerCompressor(Compression.ZSTD, ZSTD_LEVEL), stream.Hasher()
    with store.blobs.writer() as writer:
        for data in compressor.compress(hasher.over(pack(place, epoch=epoch, names=names))):
            writer.write(data)
        blob = writer.commit()
    return LayerBlob(
        diff_id=hasher.digest,
        digest=blob.digest,
        size=blob.size,
        compression=Compression.ZSTD,
    )


def _files(place: Path) -> Iterator[tuple[str, Inode, int]]:
    for each in walk(place):
        status = each.stat
        if stat.S_ISREG(status.st_mode):
            yield each.path, (status.st_dev, status.st_ino), status.st_size


@contextlib.contextmanager
def contents_linked(contents: Path, target: Path) -> Iterator[None]:
    """Have the files of a layer where the links of a sparse one lead to, for the block."""
    place = target / _CONTENTS
    place.mkdir()
    flatten([contents], place)
    yield
    remove_tree(place)
