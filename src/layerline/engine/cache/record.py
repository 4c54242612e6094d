"""A record: a row of the index of another machine, with the blobs that its snapshots come from.

The payload of a record is canonical JSON. It names the key and the repository that it is for, so a
copy of it under another tag or in another repository is not taken.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from layerline.compression import ZSTD_LEVEL
from layerline.engine.image.manifests import LAYER_TYPES, MOST_LAYERS, Compression
from layerline.engine.store.digest import Digest, canonical, digest_of, parse_digest
from layerline.errors import ArchiveInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from layerline.engine.store.index import Document

FORMAT = 3
"""Raise it when older readers would misunderstand a record: its tag is another one then."""
LARGEST_RECORD = 4 << 20
_LARGEST_LAYER = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedLayer:
    """The blob of a snapshot: what images have as their layer.

    `compression` and `level` say how it was made, where another machine may make it of the same
    files. The snapshot is the directory `within` the layer, a relative path, or all of it. With
    `contents` the blob is a sparse layer: its files are links to those of that layer.
    """

    digest: Digest
    size: int
    diff_id: Digest
    media_type: str
    compression: str
    level: int = ZSTD_LEVEL
    annotations: tuple[tuple[str, str], ...] = ()
    within: str = ""
    contents: SharedLayer | None = None

    @property
    def blobs(self) -> tuple[SharedLayer, ...]:
        """The layers whose blobs are needed."""
        return (self,) if self.contents is None else (self, self.contents)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A row of a table under a key.

    `layers` are those of the row's snapshots by name, bottom first; `forms` are what imported ones
    of these are in images that have another compression; `needs` are snapshots that a reader has
    itself or not at all; `blobs` the sizes of outputs that the row names by digest;
    `documents` bytes that the row names by digest, in base64. `repository` is where it is, without
    the registry's host, and `made` when, in seconds since the epoch.
    """

    table: str
    key: str
    row: Document
    layers: Mapping[str, SharedLayer] = field(default_factory=dict)
    forms: Mapping[str, SharedLayer] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    blobs: Mapping[Digest, int] = field(default_factory=dict)
    documents: tuple[str, ...] = ()
    repository: str
    made: int

    def payload(self) -> bytes:
        """The bytes that are signed."""
        layers = [[name, asdict(layer)] for name, layer in self.layers.items()]
        return canonical({**asdict(self), "layers": layers, "format": FORMAT})


def tag_of(table: str, key: str, epoch: int | None) -> str:
    """The tag of a key. With SOURCE_DATE_EPOCH the blobs of layers are others."""
    return "k-" + digest_of([FORMAT, table, key, epoch])


def parse_record(payload: bytes) -> Record:
    """The record of a payload from outside. Raises ArchiveInvalid."""
    if len(payload) > LARGEST_RECORD:
        message = f"a record of {len(payload)} bytes: the limit is {LARGEST_RECORD}"
        raise ArchiveInvalid(message)
    try:
        document = json.loads(payload)
        if document["format"] != FORMAT:
            message = f"a record of the unknown format {document['format']!r}"
            raise ArchiveInvalid(message)
        return _record(document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        message = f"invalid record: {exc!r}"
        raise ArchiveInvalid(message) from exc


def _record(document: dict[str, Any]) -> Record:
    if not isinstance(document["row"], dict) or len(document["layers"]) > MOST_LAYERS:
        message = "invalid record: its row is not an object, or it has too many layers"
        raise ArchiveInvalid(message)
    return Record(
        table=str(document["table"]),
        key=str(document["key"]),
        row=document["row"],
        layers={str(name): _layer(layer) for name, layer in document["layers"]},
        forms={str(name): _layer(layer) for name, layer in document["forms"].items()},
        needs=tuple(map(str, document["needs"])),
        blobs={parse_digest(name): _size(size) for name, size in document["blobs"].items()},
        documents=tuple(map(str, document["documents"])),
        repository=str(document["repository"]),
        made=int(document["made"]),
    )


def _layer(document: dict[str, Any]) -> SharedLayer:
    if document["media_type"] not in LAYER_TYPES:
        message = f"a layer of the unknown media type {document['media_type']!r}"
        raise ArchiveInvalid(message)
    compression = Compression(document["compression"])
    if compression.stream is not LAYER_TYPES[document["media_type"]]:
        message = f"a layer of the media type {document['media_type']!r} that is {compression}"
        raise ArchiveInvalid(message)
    contents = document["contents"]
    other = None if contents is None else _layer(contents)
    if other is not None and (document["within"] or other.within or other.contents):
        message = "the contents of a layer are in no complete layer"
        raise ArchiveInvalid(message)
    return SharedLayer(
        digest=parse_digest(document["digest"]),
        size=_size(document["size"]),
        diff_id=parse_digest(document["diff_id"]),
        media_type=document["media_type"],
        compression=compression.value,
        level=int(document["level"]),
        annotations=tuple((str(name), str(value)) for name, value in document["annotations"]),
        within=str(document["within"]),
        contents=other,
    )


def _size(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST_LAYER:
        message = f"invalid size {value!r} in a record"
        raise ArchiveInvalid(message)
    return value
