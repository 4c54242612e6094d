"""Fetches what records promise: blobs into the store, and layers unpacked as snapshots.

Invariant: bytes are verified before they have a name in the store. What could not be fetched counts
as absent for the rest of the session, so what needs it is built.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from layerline.engine.image.described_archive import (
    describe_archive,
    fill_archive,
    is_archive,
    store_archive,
)
from layerline.engine.image.layer_import import fill_promised
from layerline.engine.image.manifests import Descriptor
from layerline.engine.store.cancellation import carried
from layerline.errors import ArchiveInvalid, ImageError, ImageNotFound, NotFetched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.engine.cache.place import Place
    from layerline.engine.image.assemble import AssembledImage
    from layerline.engine.store.digest import Digest
    from layerline.engine.store.promise import Promise
    from layerline.engine.store.store import Store

_TABLE = "remote"
_PARALLEL = 4
_GRACE_SECONDS = 20.0
_SLOWEST = 64 << 10  # bytes a second on average, after the grace: to build is faster


@dataclass(slots=True, kw_only=True, eq=False)
class RegistrySupplier:
    """What the repositories of the cache can supply to a store."""

    store: Store
    places: Sequence[Place]
    fetched: int = 0
    _sizes: dict[str, int] = field(default_factory=dict)
    _lost: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, digest: Digest, size: int) -> None:
        """A blob of this size is in one of the repositories."""
        if self._size(digest) != size:
            self._sizes[digest] = size
            self.store.index.put(_TABLE, digest, {"size": size})

    def promise_archive(self, image: AssembledImage) -> str:
        """Have the archive of an image written once its bytes are read; its snapshot's name."""
        name, promise = describe_archive(self.store, image)
        if all(self.store.blobs.has(layer.digest) for layer in image.layers):
            return store_archive(self.store, image)
        self.add(promise.digest, promise.size)
        self.store.snapshots.promise(name, promise)
        return name

    def is_lost(self, digest: Digest) -> bool:
        """Whether a blob could not be fetched."""
        return digest in self._lost

    def has(self, digest: Digest) -> bool:
        """Whether a blob can be had, as far as is known."""
        return (
            digest not in self._lost
            and self._size(digest) is not None
            and any(place.is_usable for place in self.places)
        )

    def fetch(self, digest: Digest) -> None:
        """Put a blob into the store. Raises NotFetched."""
        with self.store.locks.exclusive(f"fetch {digest}"):
            if self.store.blobs.has(digest):
                return
            for place in self.places:
                if place.is_usable and self._fetch_from(place, digest):
                    return
        raise self._loss(digest)

    def supply(self, wanted: Sequence[tuple[str, Promise]]) -> None:
        """Put snapshots into the store, several at a time. Raises NotFetched."""

        def fill(item: tuple[str, Promise]) -> None:
            name, promise = item
            if is_archive(promise):
                if not fill_archive(self.store, name):
                    raise self._loss(promise.digest)
                return
            for digest in promise.blobs:
                if not self.store.blobs.has(digest):
                    self.fetch(digest)
            try:
                fill_promised(self.store, name, promise)
            except ArchiveInvalid as exc:
                raise self._loss(promise.digest) from exc

        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="cache-fetch") as pool:
            for _ in pool.map(carried(fill), wanted):
                pass

    def _size(self, digest: Digest) -> int | None:
        if digest not in self._sizes:
            row = self.store.index.get(_TABLE, digest)
            if row is None or not isinstance(row["size"], int):
                return None
            self._sizes[digest] = row["size"]
        return self._sizes[digest]

    def _fetch_from(self, place: Place, digest: Digest) -> bool:
        size = self._size(digest)
        assert size is not None
        blob = Descriptor(media_type="", digest=digest, size=size)
        began = time.monotonic()

        def watch(received: int) -> None:
            seconds = time.monotonic() - began
            if seconds > _GRACE_SECONDS and received < _SLOWEST * seconds:
                message = f"{place.name} sends less than {_SLOWEST} bytes a second"
                raise ImageError(message)

        try:
            place.repository.fetch(self.store, blob, watch)
        except ImageNotFound:
            return False
        except ArchiveInvalid as exc:
            place.distrust(str(exc))
            return False
        except ImageError as exc:
            place.fail(exc)
            return False
        with self._lock:
            self.fetched += size
        return True

    def _loss(self, digest: Digest) -> NotFetched:
        self._lost.add(digest)
        message = f"blob {digest} of the registry cache could not be fetched: run the call again"
        return NotFetched(message)
