"""The blobs that records name for snapshots: those of images, so each file is sent once.

All machines send one form, that of the images which are published, unless the user asks for another
one in the same session. What is imported keeps its original blob.
"""

from __future__ import annotations

import stat
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from layerline.engine.cache.placement import is_placed
from layerline.engine.cache.record import SharedLayer
from layerline.engine.image.manifests import OCI, Compression
from layerline.engine.image.pack import (
    LayerBlob,
    find_layer,
    layer_blob,
    original_of,
    received_of,
)
from layerline.engine.image.sparse_layer import contents_of, pack_sparse
from layerline.engine.store.snapshot_walk import walk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from layerline.compression import ZstdSettings
    from layerline.engine.cache.placement import Placement
    from layerline.engine.image.pack import Inode
    from layerline.engine.store.store import Store

Names = tuple[str, ...]
_TYPES = OCI.layers


@dataclass(slots=True, kw_only=True, eq=False)
class SharedLayers:
    """The layers of one session. Threads share it. `epoch` limits the times of files."""

    store: Store
    zstd: ZstdSettings
    epoch: int | None = None
    _form: Compression | None = None
    _placed: dict[Names, Placement] = field(default_factory=dict)
    _merged: dict[str, str] = field(default_factory=dict)
    _checked: dict[Names, bool] = field(default_factory=dict)
    _contents: dict[str, Mapping[Inode, bytes]] = field(default_factory=dict)
    _packing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def form(self) -> Compression:
        """How layers are compressed."""
        default = Compression.ZSTD_CHUNKED if self.zstd.chunked else Compression.ZSTD
        return self._form or default

    def prefer(self, form: Compression) -> None:
        """Compress as an image is that is asked for; the first one decides.

        Not as eStargz, whose table counts as content of the layer; plain tars are too large.
        """
        if form in (Compression.GZIP, Compression.ZSTD, Compression.ZSTD_CHUNKED):
            self._form = self._form or form

    def place(self, names: Names, placement: Placement) -> None:
        """The files of a tree, given by its snapshots, may be in one snapshot, too."""
        self._placed.setdefault(names, placement)

    def has_place(self, names: Names) -> bool:
        """Whether the files of a tree may be in one snapshot."""
        return names in self._placed or (len(names) == 1 and names[0] in self._merged)

    def merge(self, name: str, layer: str) -> None:
        """The files of a snapshot may be some of those of a layer."""
        self._merged.setdefault(name, layer)

    def place_of(self, names: Names) -> SharedLayer | None:
        """The directory of a layer that has the files of a tree; None if there is none."""
        placement = self._placed.get(names)
        if placement is None or not self._is_placed(names, placement):
            return None
        outer = self.layer(placement.layer)
        is_complete = not outer.within and outer.contents is None
        return replace(outer, within=placement.within) if is_complete else None

    def layer(self, name: str) -> SharedLayer:
        """The blob that a snapshot comes from on another machine; packed if it has none."""
        if (original := original_of(self.store, name)) is not None:
            return _shared(original)
        if (received := received_of(self.store, name)) is not None:
            contents = None if received.contents is None else _shared(received.contents)
            return replace(_shared(received.blob), within=received.within, contents=contents)
        return self.place_of((name,)) or self._sparse(name) or _shared(self._pack(name))

    def size_of(self, name: str) -> tuple[str, int]:
        """What is sent for a snapshot, and its size; of what is not packed, that of its files."""
        known = original_of(self.store, name) or received_of(self.store, name)
        if known is not None:
            blob = known if isinstance(known, LayerBlob) else known.blob
            return blob.digest, blob.size
        placement = self._placed.get((name,))
        layer = self._merged.get(name) if placement is None else placement.layer
        return self._size_here(name, self.epoch) if layer is None else self.size_of(layer)

    def size_of_form(self, name: str) -> tuple[str, int] | None:
        """The same for what `form_of` gives."""
        original = original_of(self.store, name)
        is_same = original is None or original.compression is self.form
        return None if is_same else self._size_here(name, None)

    def _size_here(self, name: str, epoch: int | None) -> tuple[str, int]:
        level = self.zstd.level
        blob = find_layer(self.store, name, self.form, epoch=epoch, zstd_level=level)
        if blob is not None:
            return blob.digest, blob.size
        size = 0
        if self.store.snapshots.is_here(name):
            files = walk(self.store.snapshots.path(name))
            size = sum(each.stat.st_size for each in files if stat.S_ISREG(each.stat.st_mode))
        return f"{name} as {self.form}", size

    def form_of(self, name: str) -> SharedLayer | None:
        """What an imported layer is in images of the form, if it is another blob."""
        original = original_of(self.store, name)
        if original is None or original.compression is self.form:
            return None
        return _shared(self._pack(name))

    def _sparse(self, name: str) -> SharedLayer | None:
        """A snapshot as links to the layer that its files were merged into."""
        merged = self._merged.get(name)
        if merged is None:
            return None
        contents = self.layer(merged)
        if contents.within or contents.contents is not None:
            return None
        with self._packing:
            if merged not in self._contents:  # many steps are merged into one layer
                self._contents[merged] = contents_of(self.store, merged)
            names = self._contents[merged]
            blob = pack_sparse(self.store, name, names, epoch=self.epoch)
        return None if blob is None else replace(_shared(blob), contents=contents)

    def _pack(self, name: str) -> LayerBlob:
        """Pack one at a time, which leaves most of the machine to the steps that run."""
        level = self.zstd.level
        with self._packing:
            return layer_blob(self.store, name, self.form, epoch=self.epoch, zstd_level=level)

    def _is_placed(self, names: Names, placement: Placement) -> bool:
        if names not in self._checked:
            path = self.store.snapshots.path
            place = path(placement.layer) / placement.within
            self._checked[names] = is_placed([path(name) for name in names], place)
        return self._checked[names]


def _shared(blob: LayerBlob) -> SharedLayer:
    return SharedLayer(
        digest=blob.digest,
        size=blob.size,
        diff_id=blob.diff_id,
        media_type=_TYPES[blob.compression.stream],
        compression=blob.compression.value,
        level=blob.level,
        annotations=blob.annotations,
    )
