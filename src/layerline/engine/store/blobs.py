"""Bytes under the name of their digest.

Invariant: a blob has its name only when complete and durable; bytes that no longer match are never
read to the end.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from layerline.engine.store.digest import Digest, parse_digest
from layerline.engine.store.durable import publish, storage_error
from layerline.errors import ArchiveInvalid, StoreDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """What is stored: the name and the length in bytes."""

    digest: Digest
    size: int


class BlobWriter:
    """Takes the bytes of one blob as they come and hashes them while they pass."""

    def __init__(self, blobs: Blobs, part: Path, file: BinaryIO) -> None:
        self._blobs = blobs
        self._part = part
        self._file = file
        self._hasher = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes | memoryview) -> int:
        """Append bytes."""
        try:
            self._file.write(data)
        except OSError as exc:
            raise storage_error(exc, "a blob cannot be written") from exc
        self._hasher.update(data)
        self.size += len(data)
        return len(data)

    def commit(self, expect: Digest | None = None) -> Blob:
        """Store what was written; with `expect`, only when it has that digest."""
        digest = Digest("sha256:" + self._hasher.hexdigest())
        if expect is not None and digest != expect:
            message = f"{expect} was expected, but the bytes received are {digest}. Try again."
            raise ArchiveInvalid(message)
        try:
            self._file.flush()
            os.fchmod(self._file.fileno(), 0o444)
            publish(self._part, self._blobs.path(digest))
        except OSError as exc:
            raise storage_error(exc, "a blob cannot be stored") from exc
        return Blob(digest=digest, size=self.size)


@dataclass(frozen=True, slots=True)
class Blobs:
    """The blobs below `root`; unfinished ones are in `scratch`, on the same file system."""

    root: Path
    scratch: Path

    @contextlib.contextmanager
    def writer(self) -> Iterator[BlobWriter]:
        """A writer whose bytes are dropped unless they are committed."""
        try:
            handle, name = tempfile.mkstemp(dir=self.scratch, prefix="blob-")
        except OSError as exc:
            raise storage_error(exc, "a blob cannot be written") from exc
        part = Path(name)
        try:
            with os.fdopen(handle, "wb", buffering=0) as file:
                yield BlobWriter(self, part, file)
        finally:
            part.unlink(missing_ok=True)

    def put(self, data: bytes) -> Blob:
        """Store bytes."""
        with self.writer() as writer:
            writer.write(data)
            return writer.commit()

    def put_file(self, path: Path) -> Blob:
        """Store a copy of a file's bytes."""
        with path.open("rb") as source, self.writer() as writer:
            for chunk in iter(lambda: source.read(CHUNK), b""):
                writer.write(chunk)
            return writer.commit()

    def path(self, digest: Digest) -> Path:
        """Where the blob is, or would be."""
        return self.root / parse_digest(digest).removeprefix("sha256:")

    def has(self, digest: Digest) -> bool:
        """Whether the blob is here."""
        return self.path(digest).is_file()

    def size(self, digest: Digest) -> int:
        """The length in bytes."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError as exc:
            raise _missing(digest) from exc

    def open(self, digest: Digest) -> BinaryIO:
        """Read the bytes from the start.

        The read that would end a damaged blob raises StoreDamaged instead. The damaged blob is
        removed, so that whoever needs it fetches or makes it again.
        """
        try:
            os.utime(self.path(digest))  # pruning goes by it
            return io.BufferedReader(_Verified(self.path(digest), digest), CHUNK)
        except FileNotFoundError as exc:
            raise _missing(digest) from exc

    def read(self, digest: Digest) -> bytes:
        """All the bytes, verified."""
        with self.open(digest) as file:
            return file.read()


def _missing(digest: Digest) -> StoreDamaged:
    return StoreDamaged(f"the blob {digest} is not in the store. Run the call again to make it.")


class _Verified(io.RawIOBase):
    """Hashes a file's bytes while they are read, and ends only when they are right."""

    def __init__(self, path: Path, digest: Digest) -> None:
        self._path = path
        self._digest = digest
        self._hasher = hashlib.sha256()
        self._file = path.open("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = self._file.readinto(buffer) or 0
        self._hasher.update(memoryview(buffer)[:count])
        if count == 0 and "sha256:" + self._hasher.hexdigest() != self._digest:
            self._path.unlink(missing_ok=True)
            message = (
                f"the blob {self._digest} was damaged on disk and is removed. Run the call again."
            )
            raise StoreDamaged(message)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
