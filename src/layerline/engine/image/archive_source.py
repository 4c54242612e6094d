"""Read the files of an image layout: from a directory, or from a tar archive without unpacking."""

from __future__ import annotations

import contextlib
import io
import os
import posixpath
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Protocol

from layerline.engine.image import manifests, stream
from layerline.engine.image.manifests import Compression, Descriptor
from layerline.engine.image.sparse import write_sparse
from layerline.engine.image.tarreader import Reader
from layerline.engine.image.unpack import DEFAULT_LIMITS, limit_expansion
from layerline.errors import ArchiveInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MOST_MEMBERS = 100_000
_MOST_LINKS = 8


class Source(Protocol):
    """Files by name. `open` raises ArchiveInvalid for a missing file."""

    def has(self, name: str) -> bool: ...

    def open(self, name: str) -> BinaryIO: ...


def read_document(source: Source, name: str) -> bytes:
    """Read a complete file of at most LARGEST_DOCUMENT bytes."""
    with source.open(name) as file:
        data = file.read(manifests.LARGEST_DOCUMENT + 1)
    if len(data) > manifests.LARGEST_DOCUMENT:
        message = f"{name} is larger than {manifests.LARGEST_DOCUMENT} bytes"
        raise ArchiveInvalid(message)
    return data


def read_blob(source: Source, descriptor: Descriptor) -> bytes:
    """Read a document of a layout and check its size and digest."""
    return manifests.verify(read_document(source, blob_name(descriptor)), descriptor)


def verify_blob(source: Source, descriptor: Descriptor) -> None:
    """Read a layer of a layout; raises ArchiveInvalid if it is not what the descriptor names."""
    found = stream.Hasher()
    with source.open(blob_name(descriptor)) as file:
        for _ in found.over(iter(lambda: file.read(stream.CHUNK), b"")):
            if found.size > descriptor.size:
                break
    if (found.size, found.digest) != (descriptor.size, descriptor.digest):
        message = (
            f"content does not match its digest: blob {descriptor.digest} of {descriptor.size} "
            f"bytes has {found.size} bytes and the digest {found.digest}"
        )
        raise ArchiveInvalid(message)


def blob_name(descriptor: Descriptor) -> str:
    """The path of a blob in a layout. A parsed digest holds no separators, so it cannot escape."""
    return "blobs/" + descriptor.digest.replace(":", "/")


@dataclass(frozen=True, slots=True)
class DirectorySource:
    """An OCI layout directory."""

    root: Path

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()

    def open(self, name: str) -> BinaryIO:
        try:
            return (self.root / name).open("rb")
        except OSError as exc:
            message = f"the image layout has no {name}"
            raise ArchiveInvalid(message) from exc


@dataclass(frozen=True, slots=True)
class ArchiveSource:
    """A tar archive, read in place: `members` holds the offset and size of each file."""

    path: Path
    members: dict[str, tuple[int, int]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    @classmethod
    @contextlib.contextmanager
    def from_file(cls, path: Path, scratch: Path) -> Iterator[ArchiveSource]:
        """List the members; a compressed archive is unpacked into `scratch` first."""
        with path.open("rb") as file:
            compression = stream.sniff(file.read(4))
            if compression is Compression.UNCOMPRESSED:
                file.seek(0)
                chunks = iter(lambda: file.read(stream.CHUNK), b"")
                yield cls._index_members(path, chunks, path.stat().st_size)
                return
        plain = scratch / f"archive-{os.getpid()}-{id(path):x}.tar"
        try:
            size = path.stat().st_size
            with path.open("rb") as packed, path.open("rb") as twin, plain.open("wb") as out:
                again = partial(stream.decompress, twin, compression)
                chunks = stream.decompress(packed, compression)
                unpacked = limit_expansion(chunks, size, again=again)
                copied = _copy(unpacked, out.fileno())
                archive = cls._index_members(plain, copied, DEFAULT_LIMITS.largest(size))
            yield archive
        finally:
            plain.unlink(missing_ok=True)

    @classmethod
    def _index_members(cls, path: Path, chunks: Iterator[bytes], largest: int) -> ArchiveSource:
        archive = cls(path)
        reader = Reader(chunks, largest=largest)
        for entry in reader.entries():
            if len(archive.members) + len(archive.links) >= _MOST_MEMBERS:
                message = f"the archive has more than {_MOST_MEMBERS} members"
                raise ArchiveInvalid(message)
            name = posixpath.normpath(os.fsdecode(entry.name))
            if entry.is_sparse:
                message = f"{name} is a sparse file in the archive: pack it without --sparse"
                raise ArchiveInvalid(message)
            if entry.kind == "0":
                archive.members[name] = (reader.position, entry.size)
            elif entry.kind in ("1", "2"):
                below = "" if entry.kind == "1" else posixpath.dirname(name)
                archive.links[name] = posixpath.normpath(
                    posixpath.join(below, os.fsdecode(entry.target))
                )
        return archive

    def has(self, name: str) -> bool:
        return self._locate(name) is not None

    def open(self, name: str) -> BinaryIO:
        place = self._locate(name)
        if place is None:
            message = f"the archive has no {name}"
            raise ArchiveInvalid(message)
        return io.BufferedReader(_Slice(self.path, *place), stream.CHUNK)

    def _locate(self, name: str) -> tuple[int, int] | None:
        """Follow links: old docker archives link identical layers to each other."""
        for _ in range(_MOST_LINKS):
            if name in self.members:
                return self.members[name]
            if name not in self.links:
                return None
            name = self.links[name]
        return None


def _copy(chunks: Iterator[bytes], descriptor: int) -> Iterator[bytes]:
    """Yield the chunks and write them to a file, with holes for zeros."""
    size = 0
    for chunk in chunks:
        write_sparse(descriptor, chunk)
        size += len(chunk)
        yield chunk
    os.ftruncate(descriptor, size)


class _Slice(io.RawIOBase):
    """A part of a file as a file of its own."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._file.seek(start)
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = self._file.readinto(memoryview(buffer)[: self._left]) or 0
        self._left -= count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
