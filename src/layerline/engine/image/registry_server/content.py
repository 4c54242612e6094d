"""What is served: repositories, each with tags, documents and blobs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from layerline.engine.image import stream
from layerline.engine.image.pack import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from layerline.engine.image.assemble import AssembledImage
    from layerline.engine.image.manifests import Descriptor
    from layerline.engine.store.digest import Digest
    from layerline.engine.store.store import Store


class Content(Protocol):
    """The bytes of a blob: their number, and the bytes themselves."""

    @property
    def size(self) -> int: ...

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from `start` up to `end`, which is not included."""


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest, an index or a configuration."""

    media_type: str
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, start: int, end: int) -> Iterator[bytes]:
        yield self.data[start:end]


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A blob of the store. One that is read from its first to its last byte is verified."""

    store: Store
    digest: Digest
    size: int

    def within(self, store: Store) -> StoredBlob:
        """The same blob of the store that is open now."""
        return replace(self, store=store)

    def read(self, start: int, end: int) -> Iterator[bytes]:
        if (start, end) == (0, self.size):
            with self.store.blobs.open(self.digest) as file:
                yield from iter(lambda: file.read(stream.CHUNK), b"")
            return
        with self.store.blobs.path(self.digest).open("rb") as file:
            file.seek(start)
            while start < end and (data := file.read(min(stream.CHUNK, end - start))):
                start += len(data)
                yield data


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotTar:
    """The tar of a snapshot, packed as it is read: it takes no room in the store."""

    store: Store
    snapshot: str
    size: int
    epoch: int | None = None

    def within(self, store: Store) -> SnapshotTar:
        """The same tar from the store that is open now."""
        return replace(self, store=store)

    def read(self, start: int, end: int) -> Iterator[bytes]:
        tar = pack(self.store.snapshots.path(self.snapshot), epoch=self.epoch)
        if start == 0 and end == self.size:
            with stream.ahead(lambda: tar) as chunks:
                yield from chunks
            return
        yield from _part(tar, start, end)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedRepository:
    """One repository. Manifests and indexes are `documents`, configurations and layers `blobs`."""

    documents: Mapping[Digest, Document]
    blobs: Mapping[Digest, Content]
    tags: Mapping[str, Digest] = field(default_factory=dict)


class Catalog(Protocol):
    """The repositories by name."""

    def names(self) -> list[str]:
        """The names that may be listed, sorted."""

    def find(self, name: str) -> ServedRepository | None:
        """The repository of that name."""


@dataclass(frozen=True, slots=True)
class OneImage:
    """A catalog of one repository that is found by its name alone: it is listed nowhere."""

    name: str
    repository: ServedRepository

    def names(self) -> list[str]:
        return []

    def find(self, name: str) -> ServedRepository | None:
        return self.repository if name == self.name else None


def repository_of(
    image: AssembledImage,
    *,
    content_of: Callable[[Descriptor], Content],
    tags: Mapping[str, Digest] | None = None,
) -> ServedRepository:
    """The repository of an assembled image, whose layers are read by `content_of`."""
    configurations = {manifest.config.digest for manifest in image.manifests}
    found = {
        descriptor.digest: Document(descriptor.media_type, data)
        for descriptor, data in image.documents
    }
    layers: dict[Digest, Content] = {layer.digest: content_of(layer) for layer in image.layers}
    return ServedRepository(
        documents={name: each for name, each in found.items() if name not in configurations},
        blobs={**layers, **{name: found[name] for name in configurations}},
        tags=tags or {},
    )


def _part(chunks: Iterator[bytes], start: int, end: int) -> Iterator[bytes]:
    """The bytes from `start` up to `end` of a stream."""
    position = 0
    for chunk in chunks:
        piece = chunk[max(0, start - position) : end - position]
        position += len(chunk)
        if piece:
            yield piece
        if position >= end:
            return
