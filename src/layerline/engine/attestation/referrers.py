"""What is attached to an image: its referrers, by the API of the registry or by the fallback tag.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerline.engine.image import manifests
from layerline.engine.image.manifests import Descriptor
from layerline.engine.image.registry.client import Request
from layerline.engine.store.digest import parse_digest
from layerline.errors import ArchiveInvalid, ImageNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from layerline.engine.image.registry.repository import Repository

TITLE = "org.opencontainers.image.title"
_MOST = 256
_LARGEST = 256 << 20  # of all together, decompressed
_GZIP = zlib.MAX_WBITS | 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A document that is attached to an image: the kind of artifact, and its bytes."""

    digest: str
    kind: str
    data: bytes
    annotations: Mapping[str, str]

    @property
    def title(self) -> str:
        """The name of a file."""
        return self.annotations.get(TITLE, "")


def read_attached(repository: Repository, digest: str) -> tuple[list[Attached], list[str]]:
    """What is attached to an image, and why some of it cannot be read.

    Everybody who may push may attach: what is broken is left out, and hides nothing else.
    """
    found: list[Attached] = []
    broken: list[str] = []
    left = _LARGEST
    entries = read_list(repository, digest)
    if len(entries) > _MOST:
        message = f"{digest} has {len(entries)} referrers: the limit is {_MOST}"
        raise ArchiveInvalid(message)
    for entry in entries:
        which = str(entry.get("digest"))
        try:
            raw = repository.manifest(parse_digest(which))
            read = list(_read(repository, digest, which, raw.data, left))
            left -= sum(len(each.data) for each in read)
            found += read
        except ImageNotFound:
            continue  # deleted; what is missed is named by the provenance
        except (ArchiveInvalid, AttributeError, TypeError) as exc:
            broken.append(f"{which[:19]} cannot be read: {exc}")
    return found, broken


def _read(
    repository: Repository, image: str, which: str, data: bytes, limit: int
) -> Iterator[Attached]:
    document = manifests.parse_json(data, "referrer")
    subject = document.get("subject")
    if not isinstance(subject, dict) or subject.get("digest") != image:
        return  # listed, but about another image
    kind = str(document.get("artifactType") or document.get("config", {}).get("mediaType"))
    for layer in document.get("layers", ())[:1]:
        size = layer.get("size")
        descriptor = Descriptor(
            media_type=str(layer.get("mediaType")),
            digest=parse_digest(str(layer.get("digest"))),
            size=size if isinstance(size, int) else -1,
        )
        content = repository.document(descriptor)
        if descriptor.media_type.endswith("+gzip"):
            content = _decompress(content, limit)
        annotations = document.get("annotations") or {}
        yield Attached(digest=which, kind=kind, data=content, annotations=annotations)


def _decompress(data: bytes, limit: int) -> bytes:
    unpacker = zlib.decompressobj(_GZIP)
    try:
        found = unpacker.decompress(data, max(limit, 1))
    except zlib.error as exc:
        message = f"a referrer is not gzip: {exc}"
        raise ArchiveInvalid(message) from exc
    if unpacker.unconsumed_tail or unpacker.unused_data or not unpacker.eof:
        message = f"a referrer is cut off, in parts, or larger than {limit} bytes"
        raise ArchiveInvalid(message)
    return found


def read_list(repository: Repository, digest: str) -> list[dict[str, Any]]:
    """The entries of the list by the API or, where the registry lacks it, of the fallback tag."""
    data = _by_api(repository, digest)
    return read_tagged_list(repository, digest) if data is None else _entries(data)


def read_tagged_list(repository: Repository, digest: str) -> list[dict[str, Any]]:
    """The entries of the list under the fallback tag."""
    try:
        return _entries(repository.manifest(digest.replace(":", "-")).data)
    except ImageNotFound:
        return []


def _entries(data: bytes) -> list[dict[str, Any]]:
    found = manifests.parse_json(data, "list of referrers").get("manifests")
    if not isinstance(found, list):
        message = "the list of referrers has no manifests"
        raise ArchiveInvalid(message)
    return [each for each in found if isinstance(each, dict)]


def lists_referrers(repository: Repository, digest: str) -> bool:
    """Whether a registry has the API that lists referrers."""
    return _by_api(repository, digest) is not None


def _by_api(repository: Repository, digest: str) -> bytes | None:
    """The list by the API; None where the registry lacks it."""
    name = repository.reference.repository
    request = Request(
        "GET",
        repository.endpoint.url(f"{name}/referrers/{digest}"),
        scope=f"repository:{name}:pull",
        headers={"Accept": manifests.OCI.index},
        expect=frozenset({200, 400, 404, 405}),
    )
    with repository.endpoint.send(request) as response:
        kind = response.headers.get("Content-Type", "").partition(";")[0]
        return (
            response.read() if response.status_code == 200 and kind == manifests.OCI.index else None
        )
