"""Blobs are stored complete under their digest, or not at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from layerline.engine.store.blobs import Blob, Blobs
from layerline.engine.store.digest import Digest, digest_bytes
from layerline.errors import ArchiveInvalid, StoreDamaged

if TYPE_CHECKING:
    from pathlib import Path

DATA = bytes(range(256)) * 5000


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    """Blobs in an empty directory."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "scratch").mkdir()
    return Blobs(tmp_path / "blobs", tmp_path / "scratch")


def nothing_left(blobs: Blobs) -> bool:
    """Whether scratch has no unfinished files."""
    return list(blobs.scratch.iterdir()) == []


def test_what_was_put_is_read(blobs: Blobs, tmp_path: Path) -> None:
    blob = blobs.put(DATA)
    assert blob == Blob(digest=digest_bytes(DATA), size=len(DATA))
    assert blobs.has(blob.digest)
    assert blobs.size(blob.digest) == len(DATA)
    assert blobs.read(blob.digest) == DATA
    (tmp_path / "file").write_bytes(b"from a file")
    assert blobs.read(blobs.put_file(tmp_path / "file").digest) == b"from a file"
    assert blobs.path(blob.digest).stat().st_mode & 0o777 == 0o444
    assert nothing_left(blobs)


def test_an_empty_blob_is_a_blob(blobs: Blobs) -> None:
    assert blobs.read(blobs.put(b"").digest) == b""


def test_without_commit_nothing_is_stored(blobs: Blobs) -> None:
    with blobs.writer() as writer:
        writer.write(DATA)
    assert not blobs.has(digest_bytes(DATA))
    assert nothing_left(blobs)


def test_other_bytes_than_expected_are_refused(blobs: Blobs) -> None:
    with blobs.writer() as writer:
        writer.write(DATA[:-1])
        with pytest.raises(ArchiveInvalid, match="expected"):
            writer.commit(digest_bytes(DATA))
    assert list(blobs.root.iterdir()) == []
    assert nothing_left(blobs)


def test_a_missing_blob_is_an_error(blobs: Blobs) -> None:
    missing = digest_bytes(b"missing")
    with pytest.raises(StoreDamaged, match="not in the store"):
        blobs.open(missing)
    with pytest.raises(StoreDamaged):
        blobs.size(missing)


@pytest.mark.parametrize("damage", ["flip", "shorten", "lengthen"])
def test_damage_is_found_while_reading_and_heals(blobs: Blobs, damage: str) -> None:
    blob = blobs.put(DATA)
    path = blobs.path(blob.digest)
    path.chmod(0o644)
    half = len(DATA) // 2
    flipped = DATA[:half] + bytes([DATA[half] ^ 1]) + DATA[half + 1 :]
    path.write_bytes({"flip": flipped, "shorten": DATA[:-1], "lengthen": DATA + b"x"}[damage])
    with blobs.open(blob.digest) as file, pytest.raises(StoreDamaged, match="damaged"):
        list(iter(lambda: file.read(100_000), b""))
    assert not blobs.has(blob.digest)
    blobs.put(DATA)
    assert blobs.read(blob.digest) == DATA


def test_putting_again_heals_a_damaged_blob(blobs: Blobs) -> None:
    blob = blobs.put(DATA)
    path = blobs.path(blob.digest)
    path.chmod(0o644)
    path.write_bytes(b"rotten")
    blobs.put(DATA)
    assert blobs.read(blob.digest) == DATA


def test_many_writers_of_one_blob_all_succeed(blobs: Blobs) -> None:
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(blobs.put, [DATA] * 32))
    assert set(stored) == {Blob(digest=digest_bytes(DATA), size=len(DATA))}
    assert len(list(blobs.root.iterdir())) == 1
    assert nothing_left(blobs)


def test_a_digest_cannot_lead_out(blobs: Blobs) -> None:
    with pytest.raises(ArchiveInvalid):
        blobs.path(Digest("sha256:../../etc/passwd"))
