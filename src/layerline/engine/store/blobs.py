"""Content-addressed blobs.

Invariant: a blob has its name only when it is complete and durable; a read of bytes that no longer
match the digest fails before the end.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from layerline.engine.store.cancellation import check_cancelled
from layerline.engine.store.digest import Digest, parse_digest
from layerline.engine.store.disk_errors import Demand, disk_errors, storage_error
from layerline.engine.store.durable import publish
from layerline.errors import ArchiveInvalid, StoreDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.engine.store.promise import Supplier

CHUNK = 1 << 20
# Another file system, one without links, too many links, and protected_hardlinks (proc(5)).
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EACCES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A stored blob; `size` is in bytes."""

    digest: Digest
    size: int


class BlobWriter:
    """Hashes the bytes of one blob while writing them."""

    def __init__(self, blobs: Blobs, part: Path, file: BinaryIO) -> None:
        self._blobs = blobs
        self._part = part
        self._file = file
        self._hasher = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes | memoryview) -> int:
        """Append bytes."""
        check_cancelled()
        try:
            self._file.write(data)
        except OSError as exc:
            demand = Demand(written=self.size + len(data))
            raise storage_error(exc, "failed to write a blob", self._blobs.root, demand) from exc
        self._hasher.update(data)
        self.size += len(data)
        return len(data)

    def commit(self, expect: Digest | None = None) -> Blob:
        """Store what was written; with `expect`, only when it has that digest."""
        digest = Digest("sha256:" + self._hasher.hexdigest())
        if expect is not None and digest != expect:
            message = f"digest mismatch: expected {expect}, got {digest}; try again"
            raise ArchiveInvalid(message)
        try:
            self._file.flush()
            os.fchmod(self._file.fileno(), 0o444)
            publish(self._part, self._blobs.path(digest))
        except OSError as exc:
            raise storage_error(exc, "failed to store a blob", self._blobs.root) from exc
        return Blob(digest=digest, size=self.size)


@dataclass(slots=True, eq=False)
class Blobs:
    """The blobs in `root`. Unfinished ones are in `scratch`, on the same file system.

    What is missing is fetched from the `supplier`, if there is one and it has it.
    """

    root: Path
    scratch: Path
    supplier: Supplier | None = None

    @contextlib.contextmanager
    def writer(self) -> Iterator[BlobWriter]:
        """Yield a writer; its bytes are discarded unless it is committed."""
        with disk_errors("failed to write a blob", self.root):
            handle, name = tempfile.mkstemp(dir=self.scratch, prefix="blob-")
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
        """Store the content of a file."""
        with path.open("rb") as source, self.writer() as writer:
            for chunk in iter(lambda: source.read(CHUNK), b""):
                writer.write(chunk)
            return writer.commit()

    def path(self, digest: Digest) -> Path:
        """The path of the blob, whether or not it exists."""
        return self.root / parse_digest(digest).removeprefix("sha256:")

    def has(self, digest: Digest) -> bool:
        """Whether the blob is stored."""
        return self.path(digest).is_file()

    def is_available(self, digest: Digest) -> bool:
        """Whether the blob is stored, or can be fetched."""
        return self.has(digest) or (self.supplier is not None and self.supplier.has(digest))

    def size(self, digest: Digest) -> int:
        """The length in bytes."""
        self._require(digest)
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError as exc:
            raise _missing(digest) from exc

    def open(self, digest: Digest) -> BinaryIO:
        """Open the blob for reading.

        The last read of a damaged blob raises StoreDamaged and removes the blob, so it is fetched
        or built again when it is next needed.
        """
        self._require(digest)
        try:
            os.utime(self.path(digest))  # pruning removes the least recently used
            return io.BufferedReader(_Verified(self.path(digest), digest), CHUNK)
        except FileNotFoundError as exc:
            raise _missing(digest) from exc

    def read(self, digest: Digest) -> bytes:
        """The content, verified."""
        with self.open(digest) as file:
            return file.read()

    def link(self, digest: Digest, target: Path) -> bool:
        """Let a new name be the blob's file, read-only; False where the file system cannot.

        Nothing is read, so nothing is verified: whoever reads the file knows its digest.
        """
        self._require(digest)
        try:
            os.utime(self.path(digest))
            os.link(self.path(digest), target)
        except FileNotFoundError as exc:
            if self.has(digest):
                raise
            raise _missing(digest) from exc
        except OSError as exc:
            if exc.errno not in _NO_LINKS:
                raise
            return False
        return True

    def _require(self, digest: Digest) -> None:
        if self.supplier is not None and not self.has(digest) and self.supplier.has(digest):
            self.supplier.fetch(digest)


def _missing(digest: Digest) -> StoreDamaged:
    return StoreDamaged(f"blob {digest} is not in the store: run the call again to recreate it")


class _Verified(io.RawIOBase):
    """Hashes a file while it is read, and fails at the end if the digest does not match."""

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
                f"blob {self._digest} was damaged on disk and has been removed: run the call again"
            )
            raise StoreDamaged(message)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
