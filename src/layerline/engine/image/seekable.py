"""Layers whose files can be read one by one: eStargz and zstd:chunked, each written in one pass.

Both are ordinary gzip and zstd streams for who does not know them. The contents of each file begin
a gzip member or a zstd frame of their own, and a table of contents at the end says where.

eStargz, https://github.com/containerd/stargz-snapshotter/blob/v0.16.3/docs/estargz.md, as BuildKit
writes it: the tar as it was, then its table as a tar of one file, which is a part of the layer's
content. zstd:chunked, https://github.com/containers/storage/tree/v1.45.1/pkg/chunked: the table is
in a frame that decoders skip, so the content is the tar.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import zstandard
from isal import isal_zlib

from layerline.engine.image import tarwriter
from layerline.engine.image.tarreader import Entry, Reader
from layerline.engine.image.tarwriter import Member
from layerline.engine.store.digest import digest_bytes
from layerline.errors import ArchiveInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

CHUNK_BYTES = 4 << 20  # The default of stargz-snapshotter.
_TOC_NAME = b"stargz.index.json"
_TOC_DIGEST = "containerd.io/snapshot/stargz/toc.digest"
_TAR_SIZE = "io.containers.estargz.uncompressed-size"
# Podman 4 reads the first name, podman 5 the second.
_CHUNKED = ("io.containers.zstd-chunked.manifest-", "io.github.containers.zstd-chunked.manifest-")
_CRFS = 1
_MAGIC = b"GNUlInUx"
_SKIPPABLE = 0x184D2A50
_GZIP = 31
_GZIP_LEVEL = 2
_KINDS = {
    "0": "reg",
    "1": "hardlink",
    "2": "symlink",
    "3": "char",
    "4": "block",
    "5": "dir",
    "6": "fifo",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Bytes of a tar: the contents of an entry from `offset` on, or headers and padding.

    An entry comes first with its header, which has no `offset`; the last piece has no entry.
    """

    data: bytes
    entry: Entry | None = None
    offset: int | None = None


class FrameCompressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


@dataclass(slots=True, kw_only=True, eq=False)
class Frames:
    """A stream of members or frames that `make` begins; `position` counts what was yielded."""

    make: Callable[[], FrameCompressor]
    position: int = 0
    _open: FrameCompressor | None = None

    def write(self, data: bytes) -> Iterator[bytes]:
        """Compress in the open frame, or in a new one."""
        if self._open is None:
            self._open = self.make()
        yield from self._count(self._open.compress(data))

    def end(self) -> Iterator[bytes]:
        """End the open frame."""
        if self._open is not None:
            yield from self._count(self._open.flush())
            self._open = None

    def raw(self, data: bytes) -> Iterator[bytes]:
        """Write bytes as they are."""
        yield from self._count(data)

    def _count(self, data: bytes) -> Iterator[bytes]:
        self.position += len(data)
        if data:
            yield data


@dataclass(slots=True, kw_only=True, eq=False)
class SeekableLayer:
    """Compresses a tar; what is said of the result is known once all was yielded.

    `content_after` follows the tar when the result is decompressed.
    """

    frames: Frames
    annotations: dict[str, str] = field(default_factory=dict)
    content_after: bytes = b""
    _entries: list[dict[str, Any]] = field(default_factory=list)
    _size: int = 0
    _contents_hash: hashlib._Hash = field(default_factory=hashlib.sha256)

    def compress(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the compressed layer."""
        for piece in pieces(chunks):
            self._size += len(piece.data)
            if piece.entry is not None and piece.offset is None:
                self._entries.append(self._entry(piece.entry))
            if piece.entry is not None and piece.offset is not None:
                yield from self._contents(piece.entry, piece.offset, piece.data)
            else:
                yield from self.frames.write(piece.data)
        yield from self.frames.end()
        yield from self._finish()

    def _contents(self, entry: Entry, offset: int, data: bytes) -> Iterator[bytes]:
        yield from self.frames.end()
        if offset:
            self._entries.append({"name": _text(entry.name), "type": "chunk"})
            self._entries[-1]["chunkOffset"] = offset
        found = self._entries[-1]
        found["offset"] = self.frames.position
        if offset or entry.size > len(data):
            found["chunkSize"] = len(data)
        found["chunkDigest"] = digest_bytes(data)
        self._contents_hash = self._contents_hash if offset else hashlib.sha256()
        self._contents_hash.update(data)
        yield from self.frames.write(data)
        is_last = offset + len(data) == entry.size
        if is_last:
            self._file()["digest"] = f"sha256:{self._contents_hash.hexdigest()}"
        yield from self._after_contents(is_last=is_last)

    def _file(self) -> dict[str, Any]:
        """The entry of the file whose contents are written."""
        return next(each for each in reversed(self._entries) if each["type"] != "chunk")

    def _after_contents(self, *, is_last: bool) -> Iterator[bytes]:
        """What follows a chunk of a file: by default what comes next, in the same frame."""
        del is_last
        yield from ()

    def _finish(self) -> Iterator[bytes]:
        """The table of contents and the footer."""
        raise NotImplementedError

    def _entry(self, entry: Entry) -> dict[str, Any]:
        if entry.is_sparse:
            message = f"{_text(entry.name)} is a sparse file, which this compression cannot hold"
            raise ArchiveInvalid(message)
        found: dict[str, Any] = {"type": _KINDS[entry.kind], "name": _text(entry.name)}
        if entry.kind in "12":
            found["linkName"] = _text(entry.target)
        found |= {"mode": entry.mode, "uid": entry.uid, "gid": entry.gid}
        if entry.kind == "0":
            found["size"] = entry.size
            if not entry.size:
                found["digest"] = digest_bytes(b"")
        if entry.kind in "34":
            found |= {"devMajor": entry.device[0], "devMinor": entry.device[1]}
        found["modtime"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.mtime))
        if entry.xattrs:
            found["xattrs"] = {
                _text(name): base64.b64encode(value).decode()
                for name, value in sorted(entry.xattrs.items())
            }
        return found

    def _table(self) -> bytes:
        document = {"version": 1, "entries": self._entries}
        # Podman takes strings as they are, without decoding escapes.
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


class Estargz(SeekableLayer):
    """An eStargz layer."""

    __slots__ = ()

    @classmethod
    def new(cls) -> Self:
        """An empty layer."""
        return cls(frames=Frames(make=_gzip_member))

    def _finish(self) -> Iterator[bytes]:
        table, place = self._table(), self.frames.position
        member = tarwriter.header(Member(name=_TOC_NAME, mode=0o444, size=len(table)))
        self.content_after = member + table + tarwriter.padding(len(table)) + tarwriter.END
        yield from self.frames.write(self.content_after)
        yield from self.frames.end()
        yield from self.frames.raw(_footer(place))
        self._size += len(self.content_after)
        self.annotations[_TOC_DIGEST] = digest_bytes(table)
        self.annotations[_TAR_SIZE] = str(self._size)


class ZstdChunked(SeekableLayer):
    """A zstd:chunked layer."""

    __slots__ = ()

    @classmethod
    def new(cls, level: int) -> Self:
        """An empty layer, compressed at a level of zstd."""
        return cls(frames=Frames(make=zstandard.ZstdCompressor(level=level).compressobj))

    def _after_contents(self, *, is_last: bool) -> Iterator[bytes]:
        """The contents' last frame ends with them, and the file's entry says where."""
        yield from self.frames.end()
        if is_last:
            self._file()["endOffset"] = self.frames.position

    def _finish(self) -> Iterator[bytes]:
        table = self._table()
        compressor = self.frames.make()
        packed = compressor.compress(table) + compressor.flush()
        place = self.frames.position + 8  # of the frame's header
        numbers = (place, len(packed), len(table), _CRFS)
        yield from self.frames.raw(_skippable(packed))
        yield from self.frames.raw(_skippable(struct.pack("<4Q", *numbers) + _MAGIC))
        for name in _CHUNKED:
            self.annotations[f"{name}checksum"] = digest_bytes(packed)
            self.annotations[f"{name}position"] = ":".join(map(str, numbers))


def pieces(chunks: Iterator[bytes]) -> Iterator[Piece]:
    """Cut a tar at the contents of its files, without changing a byte."""
    taken = bytearray()

    def take() -> Iterator[bytes]:
        for chunk in chunks:
            taken.extend(chunk)
            yield chunk

    reader = Reader(take())
    done = 0

    def cut(end: int) -> bytes:
        nonlocal done
        data = bytes(taken[: end - done])
        del taken[: end - done]
        done = end
        return data

    for entry in reader.entries():
        begin = reader.position
        yield Piece(data=cut(begin), entry=entry)
        offset = 0
        for start, data in reader.data():
            while start + len(data) - offset >= CHUNK_BYTES:
                yield Piece(data=cut(begin + offset + CHUNK_BYTES), entry=entry, offset=offset)
                offset += CHUNK_BYTES
        if offset < entry.size:
            yield Piece(data=cut(begin + entry.size), entry=entry, offset=offset)
    yield Piece(data=bytes(taken))


def _gzip_member() -> FrameCompressor:
    return isal_zlib.compressobj(_GZIP_LEVEL, isal_zlib.DEFLATED, _GZIP)


def _footer(place: int) -> bytes:
    """An empty gzip member whose extra field has the place of the table: 51 bytes."""
    field = b"%016xSTARGZ" % place
    extra = b"SG" + struct.pack("<H", len(field)) + field
    head = b"\x1f\x8b\x08\x04" + bytes(4) + b"\x00\xff" + struct.pack("<H", len(extra)) + extra
    return head + b"\x01\x00\x00\xff\xff" + bytes(8)


def _skippable(data: bytes) -> bytes:
    return struct.pack("<II", _SKIPPABLE, len(data)) + data


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError as exc:
        message = f"the name {name!r} is not UTF-8, which this compression cannot hold"
        raise ArchiveInvalid(message) from exc
