"""The form in which a layer is pulled over loopback: as it is in the store, else as a plain tar.

A daemon knows a layer that it has by the digest of what it pulled, so a layer keeps the form in
which it was served first, also when it is compressed for an export or a registry afterwards.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from layerline.engine.image import stream
from layerline.engine.image.manifests import Compression
from layerline.engine.image.pack import LayerBlob, find_layer, original_of, pack
from layerline.engine.image.registry_server.content import SnapshotTar, StoredBlob
from layerline.engine.store.digest import parse_digest

if TYPE_CHECKING:
    from layerline.engine.image.manifests import Descriptor
    from layerline.engine.image.registry_server.content import Content
    from layerline.engine.store.digest import Digest
    from layerline.engine.store.store import Store

_TABLE = "served layer"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedLayers:
    """Layers of a store; threads may share it.

    `epoch` limits times in seconds, as in a layer. `tars` are the layers that have no blob.
    """

    store: Store
    epoch: int | None = None
    tars: dict[Digest, SnapshotTar] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def layer(self, snapshot: str) -> LayerBlob:
        """The layer of a snapshot, whose bytes `content` then gives."""
        key = snapshot if self.epoch is None else f"{snapshot}:{self.epoch}"
        with self.store.locks.exclusive(f"served layer {key}"):
            if (original := original_of(self.store, snapshot)) is not None:
                return original
            served = self._known(key)
            if served is None:
                packed = find_layer(self.store, snapshot, epoch=self.epoch)
                if packed is not None:
                    return packed
                served = self._measure(snapshot)
                row: dict[str, object] = {"diff_id": served.diff_id, "size": served.size}
                self.store.index.put(_TABLE, key, row, snapshots=(snapshot,))
        tar = SnapshotTar(store=self.store, snapshot=snapshot, size=served.size, epoch=self.epoch)
        with self._lock:
            self.tars[served.digest] = tar
        return served

    def content(self, layer: Descriptor) -> Content:
        """The bytes of a layer that was asked for."""
        with self._lock:
            tar = self.tars.get(layer.digest)
        return tar or StoredBlob(self.store, layer.digest, layer.size)

    def _known(self, key: str) -> LayerBlob | None:
        row = self.store.index.get(_TABLE, key)
        if row is None or not isinstance(size := row["size"], int):
            return None
        return _plain(parse_digest(str(row["diff_id"])), size)

    def _measure(self, snapshot: str) -> LayerBlob:
        hasher = stream.Hasher()
        path = self.store.snapshots.path(snapshot)
        with stream.ahead(lambda: pack(path, epoch=self.epoch)) as chunks:
            for _ in hasher.over(chunks):
                pass
        return _plain(hasher.digest, hasher.size)


def _plain(diff_id: Digest, size: int) -> LayerBlob:
    return LayerBlob(
        diff_id=diff_id, digest=diff_id, size=size, compression=Compression.UNCOMPRESSED
    )
