"""The images that were published or loaded under a name, as `layerline registry` serves them.

An image is served while the store has its bytes: its blobs, or the snapshots that a layer is packed
from. The store is opened for each request, so pruning has its turn in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerline.engine.image import manifests
from layerline.engine.image.registry_server.content import (
    Document,
    ServedRepository,
    SnapshotTar,
    StoredBlob,
)
from layerline.engine.store.digest import Digest, parse_digest
from layerline.engine.store.store import Store
from layerline.errors import ArchiveInvalid, StoreDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from layerline.engine.image.assemble import AssembledImage
    from layerline.engine.image.manifests import Descriptor, Manifest
    from layerline.engine.image.reference import Reference
    from layerline.engine.image.registry_server.content import Content

_TABLE = "named image"


def remember_image(
    store: Store,
    image: AssembledImage,
    reference: Reference,
    *,
    tars: Mapping[Digest, SnapshotTar] | None = None,
) -> None:
    """Let an image be served under a name; `tars` are layers that have no blob."""
    reference = reference.with_default_tag()
    for _, data in image.documents:
        store.blobs.put(data)
    layers = {layer.digest for layer in image.layers}
    packed = {digest: tar for digest, tar in (tars or {}).items() if digest in layers}
    document: dict[str, object] = {
        "repository": reference.repository,
        "tag": reference.tag or "",
        "root": image.root.digest,
        "documents": {each.digest: each.media_type for each, _ in image.documents},
        "tars": {
            digest: {"snapshot": tar.snapshot, "size": tar.size, "epoch": tar.epoch}
            for digest, tar in packed.items()
        },
    }
    # Of two registries with a repository of this name, the later image is served.
    key = f"{reference.repository}:{reference.tag or reference.digest}"
    snapshots = tuple(tar.snapshot for tar in packed.values())
    store.index.put(_TABLE, key, document, snapshots=snapshots)


@dataclass(frozen=True, slots=True)
class NamedImages:
    """The catalog of a store."""

    root: Path

    def names(self) -> list[str]:
        """The repositories, sorted."""
        with Store.open(self.root) as store:
            return sorted({str(row["repository"]) for row in _rows(store)})

    def find(self, name: str) -> ServedRepository | None:
        """The repository of that name, with the images that the store still has."""
        documents: dict[Digest, Document] = {}
        blobs: dict[Digest, Content] = {}
        tags: dict[str, Digest] = {}
        with Store.open(self.root) as store:
            for row in _rows(store):
                if row["repository"] == name:
                    image = _Reader(store, row)
                    try:
                        found = image.documents()
                        layers = image.blobs(found)
                    except (ArchiveInvalid, StoreDamaged):
                        continue  # its bytes have been pruned
                    documents |= found
                    blobs |= {digest: _Reopened(self.root, each) for digest, each in layers.items()}
                    if row["tag"]:
                        tags[str(row["tag"])] = parse_digest(str(row["root"]))
        return ServedRepository(documents=documents, blobs=blobs, tags=tags) if documents else None


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads an image of a row."""

    store: Store
    row: Mapping[str, Any]

    def documents(self) -> dict[Digest, Document]:
        """Manifests and indexes."""
        kinds = manifests.MANIFEST_TYPES | manifests.INDEX_TYPES
        return {
            Digest(digest): Document(media_type, self.store.blobs.read(Digest(digest)))
            for digest, media_type in self.row["documents"].items()
            if media_type in kinds
        }

    def blobs(self, documents: Mapping[Digest, Document]) -> dict[Digest, StoredBlob | SnapshotTar]:
        """What manifests name: configurations and layers; StoreDamaged if one is missing."""
        found: dict[Digest, StoredBlob | SnapshotTar] = {}
        for document in documents.values():
            if document.media_type in manifests.MANIFEST_TYPES:
                manifest = manifests.parse_manifest(document.data, document.media_type)
                found |= {each.digest: self._blob(each) for each in _blobs_of(manifest)}
        return found

    def _blob(self, blob: Descriptor) -> StoredBlob | SnapshotTar:
        if (tar := self.row["tars"].get(blob.digest)) is not None:
            return SnapshotTar(store=self.store, **tar)
        return StoredBlob(self.store, blob.digest, self.store.blobs.size(blob.digest))


@dataclass(frozen=True, slots=True)
class _Reopened:
    """Content that is read after its store was closed: the store is open while it is read."""

    root: Path
    content: StoredBlob | SnapshotTar

    @property
    def size(self) -> int:
        return self.content.size

    def read(self, start: int, end: int) -> Iterator[bytes]:
        with Store.open(self.root) as store:
            yield from self.content.within(store).read(start, end)


def _rows(store: Store) -> Iterator[Mapping[str, Any]]:
    for _, row in store.index.scan(_TABLE):
        yield row


def _blobs_of(manifest: Manifest) -> tuple[Descriptor, ...]:
    return (manifest.config, *manifest.layers)
