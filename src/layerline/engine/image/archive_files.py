"""The files of an image's archive and of its layout directory, in their order."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from layerline.engine.image import manifests, stream
from layerline.engine.image.archive_source import blob_name
from layerline.engine.image.platform import Platform
from layerline.engine.image.reference import DEFAULT_TAG, Reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.engine.image.assemble import AssembledImage
    from layerline.engine.image.manifests import Descriptor
    from layerline.engine.store.store import Store

OCI_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_CONTAINERD_NAME = "io.containerd.image.name"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveFile:
    """A member of the archive: its bytes, or the blob in the store that holds them."""

    name: str
    size: int
    data: bytes = b""
    blob: Descriptor | None = None


def files_of(image: AssembledImage, reference: Reference | None) -> list[ArchiveFile]:
    """The files: first those that say what the archive is, then blobs by their names."""
    top = {
        "oci-layout": OCI_LAYOUT,
        "index.json": manifests.index_bytes(
            [_index_entry(image.root, reference)],
            manifests.OCI.index,
        ),
        "manifest.json": _docker_manifest(image, reference),
    }
    found = [ArchiveFile(name=name, size=len(data), data=data) for name, data in top.items()]
    small = [
        ArchiveFile(name=blob_name(descriptor), size=len(data), data=data)
        for descriptor, data in image.documents
    ]
    large = [
        ArchiveFile(name=blob_name(layer), size=layer.size, blob=layer) for layer in image.layers
    ]
    return [*found, *sorted((*small, *large), key=lambda file: file.name)]


def _index_entry(root: Descriptor, reference: Reference | None) -> Descriptor:
    annotations = {manifests.REF_NAME: DEFAULT_TAG}
    if reference is not None:
        tagged = replace(reference.with_default_tag(), digest=None)
        annotations = {
            _CONTAINERD_NAME: str(tagged),
            manifests.REF_NAME: tagged.tag or DEFAULT_TAG,
        }
    merged = {**dict(root.annotations), **annotations}
    return replace(root, annotations=tuple(sorted(merged.items())))


def _docker_manifest(image: AssembledImage, reference: Reference | None) -> bytes:
    """The `manifest.json` of `docker load`, for one platform only: this machine's, if present."""
    mine = next(
        (found for found in image.manifests if _platform_of(image, found) == Platform.of_host()),
        image.manifests[0],
    )
    tags = None
    if reference is not None and reference.with_default_tag().tag is not None:
        tags = [str(replace(reference.with_default_tag(), digest=None))]
    document = {
        "Config": blob_name(mine.config),
        "RepoTags": tags,
        "Layers": [blob_name(layer) for layer in mine.layers],
    }
    return json.dumps([document], separators=(",", ":")).encode()


def _platform_of(image: AssembledImage, manifest: manifests.Manifest) -> Platform:
    document = manifests.parse_json(image.document(manifest.config.digest), "image configuration")
    return Platform.of(document["os"], document["architecture"], document.get("variant", ""))


def content_of(store: Store, file: ArchiveFile) -> Iterator[bytes]:
    """Yield the bytes of a file."""
    if file.blob is None:
        yield file.data
        return
    with store.blobs.open(file.blob.digest) as source:
        yield from iter(lambda: source.read(stream.CHUNK), b"")
