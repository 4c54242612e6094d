"""Archives that are known by their image before they are written.

An archive of an image whose layers another machine has is written once its bytes are read. What
imports it takes the layers that it is described by: nothing of it needs to be fetched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline.engine.image import manifests
from layerline.engine.image.archive import write_archive
from layerline.engine.image.assemble import AssembledImage
from layerline.engine.image.config import ImageConfig
from layerline.engine.image.layer_import import Image
from layerline.engine.store.promise import Promise

if TYPE_CHECKING:
    from layerline.engine.image.manifests import Descriptor, Manifest
    from layerline.engine.image.platform import Platform
    from layerline.engine.store.store import Store

FILE = "container.tar"
_PREFIX = "archive-"
_TABLE = "archive"
_INDEX = manifests.OCI.index


def archive_name(image: AssembledImage) -> str:
    """The name of the snapshot that has the archive of an image."""
    return _PREFIX + image.root.digest.removeprefix("sha256:")


def store_archive(store: Store, image: AssembledImage) -> str:
    """Write the archive of an image as the file of a snapshot."""
    name = archive_name(image)
    if not (store.snapshots.is_here(name) and store.snapshots.has(name)):
        with store.snapshots.draft() as draft:
            write_archive(store, image, draft.fs / FILE)
            draft.commit(name)
    return name


def describe_archive(store: Store, image: AssembledImage) -> tuple[str, Promise]:
    """Keep what an archive is made of: the name of its snapshot, and what promises it."""
    name = archive_name(image)
    for _, data in image.documents:
        store.blobs.put(data)
    row: dict[str, object] = {
        "root": manifests.index_bytes([image.root], _INDEX).decode(),
        "layers": dict(image.snapshots),
    }
    store.index.put(_TABLE, name, row, snapshots=tuple(image.snapshots.values()))
    root = image.root
    promise = Promise(
        digest=root.digest, size=root.size, diff_id=root.digest, media_type=root.media_type
    )
    return name, promise


def is_archive(promise: Promise) -> bool:
    """Whether a snapshot is an archive that was not written yet."""
    return promise.media_type in manifests.MANIFEST_TYPES | manifests.INDEX_TYPES


def fill_archive(store: Store, name: str) -> bool:
    """Write an archive that was described; False if the store has lost what describes it."""
    root = _root(store, name)
    if root is not None:
        store_archive(store, _described_image(store, root))
    return root is not None


def find_image(store: Store, name: str, platform: Platform) -> Image | None:
    """The image of an archive that was described, if the store has its layers."""
    root = _root(store, name)
    row = store.index.get(_TABLE, name)
    if root is None or row is None or not isinstance(names := row["layers"], dict):
        return None
    if root.media_type in manifests.INDEX_TYPES:
        entries = manifests.parse_index(store.blobs.read(root.digest), root.media_type).manifests
        root = manifests.choose(entries, platform)
    manifest = manifests.parse_manifest(store.blobs.read(root.digest), root.media_type)
    config = manifests.parse_json(store.blobs.read(manifest.config.digest), "image configuration")
    layers = tuple(str(names.get(layer.digest, "")) for layer in manifest.layers)
    if not all(name and store.snapshots.has(name) for name in layers):
        return None
    return Image(
        config=ImageConfig.from_oci(config),
        layers=layers,
        diff_ids=manifests.check_config(config, manifest),
        blobs=manifest.layers,
        annotations=manifest.annotations,
        origin="archive",
    )


def _root(store: Store, name: str) -> Descriptor | None:
    row = store.index.get(_TABLE, name) if name.startswith(_PREFIX) else None
    if row is None:
        return None
    (root,) = manifests.parse_index(str(row["root"]).encode(), _INDEX).manifests
    return root if store.blobs.has(root.digest) else None


def _described_image(store: Store, root: Descriptor) -> AssembledImage:
    """The image with the documents that the store has."""
    data = store.blobs.read(root.digest)
    documents: list[tuple[Descriptor, bytes]] = []
    found: list[Manifest] = []
    entries: tuple[Descriptor, ...] = (root,)
    if root.media_type in manifests.INDEX_TYPES:
        entries = manifests.parse_index(data, root.media_type).manifests
        documents.append((root, data))
    for entry in entries:
        body = store.blobs.read(entry.digest)
        manifest = manifests.parse_manifest(body, entry.media_type)
        config = (manifest.config, store.blobs.read(manifest.config.digest))
        documents += [config, (entry, body)]
        found.append(manifest)
    return AssembledImage(root=root, manifests=tuple(found), documents=tuple(documents))
