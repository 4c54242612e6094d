"""Records as OCI artifacts: a manifest whose configuration is the record in its envelope.

The layers are the blobs of the record, so the registry keeps them and can mount them for an image
that has them. A small configuration is in the manifest as well (`data` of its descriptor), so one
request reads it. https://github.com/opencontainers/image-spec/blob/main/manifest.md
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from layerline.engine.image import manifests
from layerline.engine.image.assemble import AssembledImage
from layerline.engine.image.manifests import EMPTY, Descriptor, Manifest
from layerline.engine.store.digest import parse_digest
from layerline.errors import ArchiveInvalid

if TYPE_CHECKING:
    from layerline.engine.cache.record import Record

ARTIFACT = "application/vnd.layerline.cache.record.v1"
USED = "dev.layerline.cache.used"
"""The annotation with the time of the last use that was seen, outside of what is signed."""
ENVELOPE = "application/vnd.dsse.envelope.v1+json"
_OUTPUT = "application/octet-stream"
_MOST_INLINE = 64 << 10
MANIFEST = manifests.OCI.manifest


def artifact_of(record: Record, envelope: bytes) -> AssembledImage:
    """What is pushed for a record in its envelope."""
    config = manifests.describe(envelope, ENVELOPE)
    blobs = {
        layer.digest: Descriptor(media_type=layer.media_type, digest=layer.digest, size=layer.size)
        for each in (*record.layers.values(), *record.forms.values())
        for layer in each.blobs
    }
    for digest, size in record.blobs.items():
        blobs[digest] = Descriptor(media_type=_OUTPUT, digest=digest, size=size)
    named: dict[str, Any] = config.document()
    if len(envelope) <= _MOST_INLINE:
        named["data"] = base64.b64encode(envelope).decode()
    body = manifests.document_bytes(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": ARTIFACT,
            "config": named,
            # Registries may refuse a manifest without layers.
            "layers": [layer.document() for layer in blobs.values()] or [EMPTY.document()],
            "annotations": {USED: str(record.made)},
        }
    )
    root = manifests.describe(body, MANIFEST)
    documents = [(config, envelope), (root, body)]
    if not blobs:
        documents.insert(0, (EMPTY, b"{}"))
    return AssembledImage(
        root=root,
        manifests=(Manifest(config=config, layers=tuple(blobs.values())),),
        documents=tuple(documents),
    )


def used_in(manifest: bytes) -> int:
    """When a record was used, as far as was seen, in seconds since the epoch; 0 if unknown."""
    annotations = manifests.parse_json(manifest, "manifest of a record").get("annotations")
    used = annotations.get(USED) if isinstance(annotations, dict) else None
    return int(used) if isinstance(used, str) and used.isdigit() else 0


def used_now(manifest: bytes, now: int) -> bytes:
    """The manifest of a record that is used at a time."""
    document = manifests.parse_json(manifest, "manifest of a record")
    return manifests.document_bytes({**document, "annotations": {USED: str(now)}})


def sizes_in(manifest: bytes) -> dict[str, int]:
    """The sizes of what a record needs in the registry, by digest."""
    document = manifests.parse_json(manifest, "manifest of a record")
    layers = document.get("layers")
    named = [document.get("config"), *(layers if isinstance(layers, list) else [])]
    return {
        str(each.get("digest")): int(each["size"])
        for each in named
        if isinstance(each, dict) and isinstance(each.get("size"), int)
    }


def config_in(data: bytes) -> tuple[Descriptor, bytes | None]:
    """The configuration that a manifest names, and its bytes if they are in the manifest."""
    document = manifests.parse_json(data, "manifest of a record")
    config = document.get("config")
    if not isinstance(config, dict) or config.get("mediaType") != ENVELOPE:
        message = "the artifact is not a record"
        raise ArchiveInvalid(message)
    try:
        descriptor = Descriptor(
            media_type=ENVELOPE, digest=parse_digest(config["digest"]), size=int(config["size"])
        )
        inline = config.get("data")
        if inline is None:
            return descriptor, None
        return descriptor, manifests.verify(base64.b64decode(inline, validate=True), descriptor)
    except (KeyError, TypeError, ValueError, binascii.Error) as exc:
        message = "the configuration of the artifact is invalid"
        raise ArchiveInvalid(message) from exc
