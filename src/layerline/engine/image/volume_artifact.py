"""Cache volumes in a registry: an OCI artifact whose layers are the chunks of the volume.

Only chunks that the other side lacks travel. What comes is checked as an archive of a volume is:
each chunk by its digest and size, then each entry of the tar.
"""

from __future__ import annotations

import collections
import io
import json
import re
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

import zstandard

from layerline.engine.image import manifests
from layerline.engine.image.assemble import AssembledImage
from layerline.engine.image.manifests import Descriptor, Manifest
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry.connections import Registries
from layerline.engine.image.unpack import DEFAULT_LIMITS
from layerline.engine.image.volume_chunks import LARGEST_CHUNK, chunks_of
from layerline.engine.store.digest import digest_bytes, digest_of, parse_digest
from layerline.engine.store.usage import find_volumes
from layerline.engine.store.volume_archive import import_stream
from layerline.errors import ArchiveInvalid, ImageNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.engine.image.registry.repository import Repository
    from layerline.engine.store.digest import Digest
    from layerline.engine.store.store import Store
    from layerline.engine.store.usage import VolumeUse
    from layerline.settings import Settings

ARTIFACT = "application/vnd.layerline.volume.v1"
CONFIG = "application/vnd.layerline.volume.config.v1+json"
CHUNK = "application/vnd.layerline.volume.chunk.v1+zstd"
_FORMAT = 1
_MANIFEST = manifests.OCI.manifest
_LEVEL = 3
_AHEAD = 4
_LOCK_SECONDS = 10.0
_TAG_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_MOST_CHUNKS = 20_000  # As many as a manifest of 4 MiB names.


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What was sent or received: chunks in all and of them new ones, and bytes of the new ones."""

    identity: str
    chunks: int
    new: int
    bytes: int


def push_volume(store: Store, volume: VolumeUse, place: str, settings: Settings) -> Transfer:
    """Push a volume to a repository `HOST/NAME`, under a tag of its own."""
    reference = _reference(place, volume.key)
    with Registries.open(settings) as registries:
        repository = registries.registry(reference)
        known = _known_chunks(repository)
        with store.volumes.lock(volume.identity, timeout=_LOCK_SECONDS):
            pushed, new = _push_chunks(repository, volume, known)
        artifact = _artifact(volume.identity, pushed)
        repository.push(store, artifact, known={chunk.digest for chunk, _ in pushed})
    unique = {chunk.digest for chunk, _ in pushed}
    return Transfer(
        identity=volume.identity, chunks=len(unique), new=len(new), bytes=sum(new.values())
    )


def pull_volume(
    store: Store, name: str, place: str, settings: Settings, *, replace: bool = False
) -> Transfer:
    """Create a volume from a repository. Raises ArchiveInvalid for one that it must not be."""
    reference = _reference(place, name)
    with Registries.open(settings) as registries:
        repository = registries.registry(reference)
        found = _read(repository, name)
        wanted = {chunk.digest: chunk for chunk in found.chunks}
        before = {digest for digest in wanted if store.blobs.has(digest)}
        local = _local_chunks(store, found.identity, set(wanted) - before)
        missing = [chunk for digest, chunk in wanted.items() if digest not in before | local]
        try:
            stream = io.BufferedReader(
                _ChunkStream(_contents(store, repository, found)), LARGEST_CHUNK
            )
            import_stream(store, stream, str(reference), identity=found.identity, replace=replace)
        finally:
            for digest in set(wanted) - before:
                store.blobs.path(digest).unlink(missing_ok=True)
    return Transfer(
        identity=found.identity,
        chunks=len(wanted),
        new=len(missing),
        bytes=sum(chunk.size for chunk in missing),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Volume:
    """A volume in a registry: its chunks in order, and the plain size of each."""

    identity: str
    chunks: tuple[Descriptor, ...]
    sizes: tuple[int, ...]


def _reference(place: str, key: str) -> Reference:
    """The tag of a volume; one whose name cannot be a tag has its digest."""
    found = Reference.parse(place)
    name = key if _TAG_NAME.fullmatch(key) else digest_of(key)[:32]
    return Reference(registry=found.registry, repository=found.repository, tag=f"volume-{name}")


def _known_chunks(repository: Repository) -> frozenset[str]:
    """The chunks that the volume's last push has put there."""
    try:
        data = repository.manifest(str(repository.reference.tag)).data
        layers = manifests.parse_json(data, "manifest of a volume").get("layers")
        return frozenset(str(layer["digest"]) for layer in layers or ())
    except (ImageNotFound, ArchiveInvalid, KeyError, TypeError):
        return frozenset()


def _push_chunks(
    repository: Repository, volume: VolumeUse, known: frozenset[str]
) -> tuple[list[tuple[Descriptor, int]], dict[str, int]]:
    """Send what is missing; all chunks in order with their plain sizes, and the new ones' sizes."""
    pushed: list[tuple[Descriptor, int]] = []
    new: dict[str, int] = {}
    waiting: collections.deque[Future[None]] = collections.deque()
    with ThreadPoolExecutor(2) as pool:
        for data in chunks_of(volume):
            packed = _pack(data)
            chunk = manifests.describe(packed, CHUNK)
            pushed.append((chunk, len(data)))
            if chunk.digest in known or chunk.digest in new:
                continue
            new[chunk.digest] = chunk.size
            waiting.append(pool.submit(repository.push_blob, chunk, packed))
            if len(waiting) > _AHEAD:
                waiting.popleft().result()
        for each in waiting:
            each.result()
    return pushed, new


def _pack(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=_LEVEL).compress(data)


def _artifact(identity: str, pushed: list[tuple[Descriptor, int]]) -> AssembledImage:
    unique = {chunk.digest: chunk for chunk, _ in pushed}
    if len(unique) > _MOST_CHUNKS:
        message = f"volume {identity} has {len(unique)} chunks: the limit is {_MOST_CHUNKS}"
        raise ArchiveInvalid(message)
    numbers = {digest: number for number, digest in enumerate(unique)}
    document = {
        "format": _FORMAT,
        "identity": identity,
        "chunks": [numbers[chunk.digest] for chunk, _ in pushed],
        "sizes": [size for _, size in pushed],
    }
    body = manifests.document_bytes(document)
    config = manifests.describe(body, CONFIG)
    manifest = manifests.document_bytes(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "artifactType": ARTIFACT,
            "config": config.document(),
            "layers": [chunk.document() for chunk in unique.values()],
        }
    )
    root = manifests.describe(manifest, _MANIFEST)
    layers = tuple(unique.values())
    return AssembledImage(
        root=root,
        manifests=(Manifest(config=config, layers=layers),),
        documents=((config, body), (root, manifest)),
    )


def _read(repository: Repository, name: str) -> _Volume:
    """The volume under the repository's tag, which must be the one of that name."""
    data = repository.manifest(str(repository.reference.tag)).data
    document = manifests.parse_json(data, "manifest of a volume")
    config, layers = document.get("config"), document.get("layers")
    if document.get("artifactType") != ARTIFACT or not isinstance(layers, list):
        raise _invalid(repository, "it has another type")
    if len(layers) > _MOST_CHUNKS:
        raise _invalid(repository, f"it has {len(layers)} chunks")
    chunks = [_descriptor(repository, layer, CHUNK) for layer in layers]
    body = repository.document(_descriptor(repository, config, CONFIG))
    found = manifests.parse_json(body, "configuration of a volume")
    identity, order, sizes = found.get("identity"), found.get("chunks"), found.get("sizes")
    if found.get("format") != _FORMAT or not isinstance(identity, str):
        raise _invalid(repository, f"unknown format {found.get('format')!r}")
    if name not in (identity, identity.rpartition("-")[0]):
        raise _invalid(repository, f"it is the volume {identity!r}, and {name!r} was asked for")
    if not (_are_numbers(order, len(chunks)) and _are_numbers(sizes, 2 * LARGEST_CHUNK)):
        raise _invalid(repository, "its list of chunks is invalid")
    packed = sum(chunk.size for chunk in chunks)
    if len(order) != len(sizes) or sum(sizes) > DEFAULT_LIMITS.largest(packed):
        raise _invalid(repository, f"{packed} bytes claim to be {sum(sizes)}")
    return _Volume(
        identity=identity, chunks=tuple(chunks[number] for number in order), sizes=tuple(sizes)
    )


def _are_numbers(value: object, end: int) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(_is_number(each, end) for each in value)


def _is_number(value: object, end: int) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < end


def _descriptor(repository: Repository, value: object, media_type: str) -> Descriptor:
    found = value if isinstance(value, dict) else {}
    size = found.get("size")
    if found.get("mediaType") == media_type and _is_number(size, 2 * LARGEST_CHUNK):
        digest = parse_digest(str(found.get("digest")))
        return Descriptor(media_type=media_type, digest=digest, size=size)
    raise _invalid(repository, f"it names {json.dumps(value)[:200]} as {media_type}")


def _local_chunks(store: Store, identity: str, wanted: set[Digest]) -> set[Digest]:
    """Put those chunks into the store that the volume of this machine has."""
    found: set[Digest] = set()
    for volume in find_volumes(store.root, identity):
        if volume.identity == identity and wanted:
            with store.volumes.lock(identity, timeout=_LOCK_SECONDS):
                for data in chunks_of(volume):
                    packed = _pack(data)
                    if (digest := digest_bytes(packed)) in wanted and digest not in found:
                        found.add(store.blobs.put(packed).digest)
    return found


def _contents(store: Store, repository: Repository, volume: _Volume) -> Iterator[bytes]:
    """The plain bytes of the chunks; those that are missing are fetched a few chunks ahead."""

    def have(chunk: Descriptor) -> None:
        if not store.blobs.has(chunk.digest):
            repository.fetch(store, chunk)

    ahead: collections.deque[Future[None]] = collections.deque()
    with ThreadPoolExecutor(_AHEAD) as pool:
        rest = iter(volume.chunks)
        for chunk, size in zip(volume.chunks, volume.sizes, strict=True):
            while len(ahead) < _AHEAD and (following := next(rest, None)) is not None:
                ahead.append(pool.submit(have, following))
            ahead.popleft().result()
            yield _unpack(repository, store.blobs.read(chunk.digest), size)


def _unpack(repository: Repository, packed: bytes, size: int) -> bytes:
    try:
        reader = zstandard.ZstdDecompressor().stream_reader(packed)
        data = reader.read(size + 1)
    except zstandard.ZstdError as exc:
        raise _invalid(repository, f"a chunk is broken: {exc}") from exc
    if len(data) != size:
        raise _invalid(repository, f"a chunk does not have its {size} bytes")
    return data


class _ChunkStream(io.RawIOBase):
    """Chunks as one file that is read from its start to its end."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = memoryview(chunk)
        piece = self._left[: len(buffer)]
        buffer[: len(piece)] = piece
        self._left = self._left[len(piece) :]
        return len(piece)


def _invalid(repository: Repository, why: str) -> ArchiveInvalid:
    return ArchiveInvalid(
        f"{repository.reference} is not a volume written by 'layerline store volume push': {why}"
    )
