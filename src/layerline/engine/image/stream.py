"""Byte streams between two threads, and the compressions of layers.

Hashing, compression and file reads release the GIL, so two threads pack or unpack a layer in
parallel. A bounded number of chunks is held in memory, whatever the length of the stream.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import zstandard
from isal import isal_zlib
from isal.igzip_lib import IsalError

from layerline.compression import ZSTD_LEVEL
from layerline.engine.image.manifests import Compression
from layerline.engine.image.seekable import Estargz, ZstdChunked
from layerline.engine.store.cancellation import check_cancelled
from layerline.engine.store.digest import Digest
from layerline.errors import ArchiveInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from layerline.engine.image.seekable import FrameCompressor, SeekableLayer

CHUNK = 1 << 20
_DEPTH = 8
_GZIP = 31
# What is left of it is copied for each member of a stream.
_GZIP_CHUNK = 1 << 16
_FREE_MEMBERS = 1000
_SHORTEST_MEMBER = 64
_LARGEST_WINDOW = 1 << 27
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


@contextlib.contextmanager
def ahead(make: Callable[[], Iterator[bytes]]) -> Iterator[Iterator[bytes]]:
    """Run a generator in its own thread, at most a few chunks ahead of the reader.

    An exception of the generator is raised in the reader. Leaving the block ends the thread.
    """
    chunks: queue.Queue[bytes | None] = queue.Queue(_DEPTH)
    stop = threading.Event()
    failure: list[BaseException] = []

    def give(chunk: bytes | None) -> bool:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                chunks.put(chunk, timeout=0.1)
                return True
        return False

    def work() -> None:
        try:
            for chunk in make():
                if not give(chunk):
                    return
        except BaseException as exc:  # noqa: BLE001 - raised again in the reader's thread
            failure.append(exc)
        give(None)

    def receive() -> Iterator[bytes]:
        while (chunk := chunks.get()) is not None:
            check_cancelled()
            yield chunk
        if failure:
            raise failure[0]

    thread = threading.Thread(target=work, name="layer-stream", daemon=True)
    thread.start()
    try:
        yield receive()
    finally:
        stop.set()
        thread.join()


class Hasher:
    """Counts and hashes the bytes of a stream as they pass."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size = 0

    def update(self, data: bytes) -> None:
        """Count and hash bytes."""
        self._hash.update(data)
        self.size += len(data)

    def over(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the chunks unchanged."""
        for chunk in chunks:
            self.update(chunk)
            yield chunk

    @property
    def digest(self) -> Digest:
        """The digest of the bytes so far."""
        return Digest("sha256:" + self._hash.hexdigest())


@dataclass(slots=True, eq=False)
class LayerCompressor:
    """Compresses one layer; what is said of the result is known once all was yielded.

    `content_after` follows the tar when the result is decompressed; `annotations` are of its
    descriptor.
    """

    compression: Compression
    zstd_level: int = ZSTD_LEVEL
    content_after: bytes = b""
    annotations: tuple[tuple[str, str], ...] = ()

    def compress(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Compress reproducibly: the output has no times or names and uses no thread count."""
        layer: SeekableLayer
        match self.compression:
            case Compression.UNCOMPRESSED:
                yield from chunks
                return
            case Compression.GZIP:
                yield from _packed(chunks, isal_zlib.compressobj(2, isal_zlib.DEFLATED, _GZIP))
                return
            case Compression.ZSTD:
                zstd = zstandard.ZstdCompressor(level=self.zstd_level)
                yield from _packed(chunks, zstd.compressobj())
                return
            case Compression.ESTARGZ:
                layer = Estargz.new()
            case Compression.ZSTD_CHUNKED:
                layer = ZstdChunked.new(self.zstd_level)
        yield from layer.compress(chunks)
        self.content_after = layer.content_after
        self.annotations = tuple(sorted(layer.annotations.items()))


def _packed(chunks: Iterator[bytes], compressor: FrameCompressor) -> Iterator[bytes]:
    for chunk in chunks:
        yield compressor.compress(chunk)
    yield compressor.flush()


def decompress(source: BinaryIO, compression: Compression) -> Iterator[bytes]:
    """Yield the tar of a layer in chunks of bounded size."""
    for chunk in _decompress(source, compression):
        check_cancelled()
        yield chunk


def _decompress(source: BinaryIO, compression: Compression) -> Iterator[bytes]:
    match compression:
        case Compression.UNCOMPRESSED:
            yield from iter(lambda: source.read(CHUNK), b"")
        case Compression.GZIP:
            yield from _gunzip(source)
        case Compression.ZSTD:
            yield from _unzstd(source)
        case Compression.ESTARGZ | Compression.ZSTD_CHUNKED:
            yield from _decompress(source, compression.stream)


def sniff(head: bytes) -> Compression:
    """The compression of a stream, by its first bytes."""
    if head.startswith(_GZIP_MAGIC):
        return Compression.GZIP
    if head.startswith(_ZSTD_MAGIC):
        return Compression.ZSTD
    return Compression.UNCOMPRESSED


def _gunzip(source: BinaryIO) -> Iterator[bytes]:
    """Unpack all members: pigz and eStargz write many.

    A member costs as much as some kilobytes of data, so there may not be many without any.
    """
    members = size = 0
    pending = source.read(_GZIP_CHUNK)
    while pending:
        members += 1
        size += len(pending)
        if members > _FREE_MEMBERS and members * _SHORTEST_MEMBER > size:
            message = "the gzip stream is refused: it has too many members that are empty"
            raise ArchiveInvalid(message)
        member = isal_zlib.decompressobj(_GZIP)
        size += yield from _member(member, pending, source)
        size -= len(member.unused_data)
        pending = member.unused_data or source.read(_GZIP_CHUNK)


def _member(
    member: isal_zlib.Decompress, pending: bytes, source: BinaryIO
) -> Generator[bytes, None, int]:
    """Unpack one member; returns how many bytes it read in addition to `pending`."""
    ended = False
    size = 0
    while not ended:
        try:
            data = member.decompress(pending, CHUNK)
        except IsalError as exc:  # type: ignore[misc] # isal's stub calls the class an instance
            message = f"the gzip stream is broken: {exc}"
            raise ArchiveInvalid(message) from exc
        if data:
            yield data
        ended = member.eof
        pending = member.unconsumed_tail
        if not (pending or ended):
            pending = source.read(_GZIP_CHUNK)
            size += len(pending)
        if not (pending or data or ended):
            message = "the gzip stream is cut short"
            raise ArchiveInvalid(message)
    return size


def _unzstd(source: BinaryIO) -> Iterator[bytes]:
    unpacker = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
    try:
        with unpacker.stream_reader(source, read_across_frames=True, closefd=False) as reader:
            while chunk := reader.read(CHUNK):
                yield chunk
    except zstandard.ZstdError as exc:
        message = f"the zstd stream is broken: {exc}"
        raise ArchiveInvalid(message) from exc
