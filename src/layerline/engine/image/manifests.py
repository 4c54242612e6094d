"""The documents of the OCI image layout: descriptors, manifests and indexes, parsed strictly.

A document is used only after its bytes matched the digest and the size that named it, and only if
its media type and its content agree (one that is manifest and index is refused: CVE-2021-41190).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from layerline.engine.image.platform import Platform
from layerline.engine.store.digest import Digest, digest_bytes, parse_digest
from layerline.errors import ArchiveInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REF_NAME = "org.opencontainers.image.ref.name"
LARGEST_DOCUMENT = 4 << 20
MOST_LAYERS = 500  # As many as overlayfs mounts; docker refuses more than 127.
DEEPEST_INDEX = 3


class Compression(Enum):
    """How a layer's tar is packed, in the API's words; zstd:chunked is not in the API."""

    GZIP = "Gzip"
    ZSTD = "Zstd"
    UNCOMPRESSED = "Uncompressed"
    ESTARGZ = "EStarGZ"
    ZSTD_CHUNKED = "ZstdChunked"

    @property
    def stream(self) -> Compression:
        """The compression that a reader sees who does not know more: that of the media type."""
        return _STREAMS.get(self, self)


# By the names of the API's enumeration.
COMPRESSIONS = {
    each.value.upper(): each for each in Compression if each is not Compression.ZSTD_CHUNKED
}
_STREAMS = {Compression.ESTARGZ: Compression.GZIP, Compression.ZSTD_CHUNKED: Compression.ZSTD}


class MediaTypes(Enum):
    """Which family of names the documents use, in the API's words."""

    OCI = "OCIMediaTypes"
    DOCKER = "DockerMediaTypes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The media types of one family."""

    index: str
    manifest: str
    config: str
    layers: Mapping[Compression, str]


FAMILIES = {
    MediaTypes.OCI: Family(
        index="application/vnd.oci.image.index.v1+json",
        manifest="application/vnd.oci.image.manifest.v1+json",
        config="application/vnd.oci.image.config.v1+json",
        layers={
            Compression.GZIP: "application/vnd.oci.image.layer.v1.tar+gzip",
            Compression.ZSTD: "application/vnd.oci.image.layer.v1.tar+zstd",
            Compression.UNCOMPRESSED: "application/vnd.oci.image.layer.v1.tar",
        },
    ),
    MediaTypes.DOCKER: Family(
        index="application/vnd.docker.distribution.manifest.list.v2+json",
        manifest="application/vnd.docker.distribution.manifest.v2+json",
        config="application/vnd.docker.container.image.v1+json",
        layers={
            Compression.GZIP: "application/vnd.docker.image.rootfs.diff.tar.gzip",
            Compression.ZSTD: "application/vnd.docker.image.rootfs.diff.tar.zstd",
            Compression.UNCOMPRESSED: "application/vnd.docker.image.rootfs.diff.tar",
        },
    ),
}
OCI = FAMILIES[MediaTypes.OCI]
INDEX_TYPES = frozenset(family.index for family in FAMILIES.values())
MANIFEST_TYPES = frozenset(family.manifest for family in FAMILIES.values())
CONFIG_TYPES = frozenset(family.config for family in FAMILIES.values())
LAYER_TYPES = {
    name: compression for family in FAMILIES.values() for compression, name in family.layers.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """Names bytes by digest, size and media type."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: tuple[tuple[str, str], ...] = ()

    def document(self) -> dict[str, Any]:
        """The JSON object in manifests and indexes."""
        document: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
        }
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        if self.platform is not None:
            document["platform"] = _platform_document(self.platform)
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One image for one platform."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageIndex:
    """Several images under one name."""

    manifests: tuple[Descriptor, ...]


def manifest_bytes(manifest: Manifest, family: Family) -> bytes:
    """The canonical JSON of a manifest."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": family.manifest,
        "config": manifest.config.document(),
        "layers": [layer.document() for layer in manifest.layers],
    }
    if manifest.annotations:
        document["annotations"] = dict(sorted(manifest.annotations))
    return document_bytes(document)


def index_bytes(descriptors: Sequence[Descriptor], media_type: str) -> bytes:
    """The canonical JSON of an index."""
    return document_bytes(
        {
            "schemaVersion": 2,
            "mediaType": media_type,
            "manifests": [descriptor.document() for descriptor in descriptors],
        }
    )


def document_bytes(document: Mapping[str, Any]) -> bytes:
    """JSON without spaces, members in the order given."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def describe(data: bytes, media_type: str) -> Descriptor:
    """The descriptor of these bytes, with their digest and size."""
    return Descriptor(media_type=media_type, digest=digest_bytes(data), size=len(data))


EMPTY = describe(b"{}", "application/vnd.oci.empty.v1+json")
"""What stands for a configuration or layers where there are none."""


def verify(data: bytes, descriptor: Descriptor) -> bytes:
    """Return the bytes; raises ArchiveInvalid if size or digest differ from the descriptor."""
    if len(data) != descriptor.size:
        message = f"{descriptor.digest} has {len(data)} bytes, but {descriptor.size} were declared"
        raise ArchiveInvalid(message)
    if digest_bytes(data) != descriptor.digest:
        message = (
            f"content does not match its digest {descriptor.digest}: it has {digest_bytes(data)}"
        )
        raise ArchiveInvalid(message)
    return data


def parse_json(data: bytes, what: str) -> dict[str, Any]:
    """Parse an untrusted JSON object; `what` names it in errors."""
    if len(data) > LARGEST_DOCUMENT:
        message = f"the {what} is larger than {LARGEST_DOCUMENT} bytes"
        raise ArchiveInvalid(message)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as exc:
        message = f"the {what} is not JSON; check that the address or file is that of an image"
        raise ArchiveInvalid(message) from exc
    if not isinstance(document, dict):
        message = f"the {what} is not a JSON object"
        raise ArchiveInvalid(message)
    return document


def parse_manifest(data: bytes, media_type: str) -> Manifest:
    """Parse a manifest; its own media type must be the one it was announced with."""
    document = _parse_document(data, media_type, "manifest", MANIFEST_TYPES, foreign="manifests")
    config = _descriptor(document.get("config"), "config")
    if config.media_type not in CONFIG_TYPES:
        message = (
            f"the manifest is not of an image: its config is a {config.media_type!r}; use the "
            "address of an image"
        )
        raise ArchiveInvalid(message)
    layers = tuple(_descriptor(entry, "layer") for entry in _list(document, "layers"))
    if len(layers) > MOST_LAYERS:
        message = f"the manifest has {len(layers)} layers: the limit is {MOST_LAYERS}"
        raise ArchiveInvalid(message)
    for layer in layers:
        if layer.media_type not in LAYER_TYPES:
            message = f"layer {layer.digest} has the unknown media type {layer.media_type!r}"
            raise ArchiveInvalid(message)
    return Manifest(config=config, layers=layers, annotations=_annotations(document))


def parse_index(data: bytes, media_type: str) -> ImageIndex:
    """Parse an index; its own media type must be the one it was announced with."""
    document = _parse_document(data, media_type, "index", INDEX_TYPES, foreign="layers")
    entries = _list(document, "manifests")
    return ImageIndex(manifests=tuple(_descriptor(entry, "manifest") for entry in entries))


def choose(descriptors: Sequence[Descriptor], platform: Platform) -> Descriptor:
    """The entry for a platform. A single image is chosen whatever its platform is."""
    images = [found for found in descriptors if not _is_attestation(found)]
    for found in images:
        if found.platform == platform:
            return found
    for found in images:
        if found.platform is not None and (found.platform.os, found.platform.architecture) == (
            platform.os,
            platform.architecture,
        ):
            return found
    if len(images) == 1:
        return images[0]
    have = ", ".join(sorted(str(found.platform) for found in images)) or "none"
    message = f"no match for platform {platform}: not found. The image has: {have}"
    raise ArchiveInvalid(message)


def check_config(document: Mapping[str, Any], manifest: Manifest) -> tuple[Digest, ...]:
    """The diff ids of a config document, one for each layer of the manifest."""
    rootfs = document.get("rootfs")
    if not isinstance(rootfs, dict) or rootfs.get("type") != "layers":
        message = "the image configuration has no list of layers (rootfs)"
        raise ArchiveInvalid(message)
    diff_ids = _list(rootfs, "diff_ids")
    if len(diff_ids) != len(manifest.layers):
        message = (
            f"the image configuration lists {len(diff_ids)} layers, "
            f"the manifest {len(manifest.layers)}"
        )
        raise ArchiveInvalid(message)
    return tuple(parse_digest(str(text)) for text in diff_ids)


def _parse_document(
    data: bytes, media_type: str, what: str, allowed: frozenset[str], *, foreign: str
) -> dict[str, Any]:
    document = parse_json(data, what)
    if media_type not in allowed:
        message = f"unsupported media type {media_type!r} for an image {what}"
        raise ArchiveInvalid(message)
    if document.get("mediaType", media_type) != media_type:
        found = document["mediaType"]
        message = f"the {what} has the media type {found!r}, but {media_type!r} was announced"
        raise ArchiveInvalid(message)
    if document.get("schemaVersion") != 2:
        message = (
            f"unsupported schemaVersion {document.get('schemaVersion')!r} of the {what}: use 2"
        )
        raise ArchiveInvalid(message)
    if foreign in document:
        message = f"the {what} is ambiguous: it has {foreign!r} as well"
        raise ArchiveInvalid(message)
    return document


def _descriptor(value: object, what: str) -> Descriptor:
    if not isinstance(value, dict):
        message = f"a {what} descriptor is not an object"
        raise ArchiveInvalid(message)
    size = value.get("size")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        message = f"invalid size {size!r} in a {what} descriptor"
        raise ArchiveInvalid(message)
    return Descriptor(
        media_type=str(value.get("mediaType", "")),
        digest=parse_digest(str(value.get("digest", ""))),
        size=size,
        platform=_platform(value.get("platform")),
        annotations=_annotations(value),
    )


def _platform(value: object) -> Platform | None:
    if not isinstance(value, dict):
        return None
    return Platform.of(
        str(value.get("os", "")), str(value.get("architecture", "")), str(value.get("variant", ""))
    )


def _platform_document(platform: Platform) -> dict[str, str]:
    document = {"architecture": platform.architecture, "os": platform.os}
    return {**document, "variant": platform.variant} if platform.variant else document


def _is_attestation(descriptor: Descriptor) -> bool:
    return descriptor.platform is not None and descriptor.platform.os == "unknown"


def _annotations(document: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    value = document.get("annotations")
    if not isinstance(value, dict):
        return ()
    return tuple(sorted((str(name), str(text)) for name, text in value.items()))


def _list(document: Mapping[str, Any], name: str) -> list[Any]:
    value = document.get(name)
    if not isinstance(value, list):
        message = f"{name!r} is missing or not a list"
        raise ArchiveInvalid(message)
    return value
