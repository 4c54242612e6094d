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
from layerline.engine.image.manifests import Descriptor, Manifest, MediaTypes
from layerline.errors import ArchiveInvalid

if TYPE_CHECKING:
    from layerline.engine.cache.record import Record

ARTIFACT = "application/vnd.layerline.cache.record.v1"
ENVELOPE = "application/vnd.dsse.envelope.v1+json"
_OUTPUT = "application/octet-stream"
_MOST_INLINE = 64 << 10
_MANIFEST = manifests.FAMILIES[MediaTypes.OCI].manifest
# What stands for no layers: registries may refuse a manifest without any.
EMPTY = manifests.describe(b"{}", "application/vnd.oci.empty.v1+json")


def artifact_of(record: Record, envelope: bytes) -> AssembledImage:
    """What is pushed for a record in its envelope."""
    config = manifests.describe(envelope, ENVELOPE)
    blobs = {
        layer.digest: Descriptor(media_type=layer.media_type, digest=layer.digest, size=layer.size)
        for layer in record.layers.values()
    }
    for digest, size in record.blobs.items():
        blobs[digest] = Descriptor(media_type=_OUTPUT, digest=digest, size=size)
    named: dict[str, Any] = config.document()
    if len(envelope) <= _MOST_INLINE:
        named["data"] = base64.b64encode(envelope).decode()
    body = manifests.document_bytes(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "artifactType": ARTIFACT,
            "config": named,
            "layers": [layer.document() for layer in blobs.values()] or [EMPTY.document()],
        }
    )
    root = manifests.describe(body, _MANIFEST)
    documents = [(config, envelope), (root, body)]
    if not blobs:
        documents.insert(0, (EMPTY, b"{}"))
    return AssembledImage(
        root=root,
        manifests=(Manifest(config=config, layers=tuple(blobs.values())),),
        documents=tuple(documents),
    )


def config_in(data: bytes) -> tuple[Descriptor, bytes | None]:
    """The configuration that a manifest names, and its bytes if they are in the manifest."""
    document = manifests.parse_json(data, "manifest of a record")
    config = document.get("config")
    if not isinstance(config, dict) or config.get("mediaType") != ENVELOPE:
        message = "the artifact is not a record"
        raise ArchiveInvalid(message)
    try:
        descriptor = Descriptor(
            media_type=ENVELOPE, digest=config["digest"], size=int(config["size"])
        )
        inline = config.get("data")
        if inline is None:
            return descriptor, None
        return descriptor, manifests.verify(base64.b64decode(inline, validate=True), descriptor)
    except (KeyError, TypeError, ValueError, binascii.Error) as exc:
        message = "the configuration of the artifact is invalid"
        raise ArchiveInvalid(message) from exc
