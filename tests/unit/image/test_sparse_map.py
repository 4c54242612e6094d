"""Sparse files of PAX archives in layers and in ADD, as Go's archive/tar reads them.

`tests/integration/test_unpacked_as_docker.py` compares with docker itself.
https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.engine.image.archive_source import ArchiveSource
from layerline.errors import ArchiveInvalid
from tests.unit.image.conftest import Arena, folder, member
from tests.unit.image.test_unpack import pax, record

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("root")

S = b"GNU.sparse."
ONE = record(S + b"major", b"1") + record(S + b"minor", b"0")
NUMBERS = "the map of a sparse file has something that is not a number"


def version_one(text: bytes, data: bytes = b"", size: bytes = b"20") -> list[bytes]:
    """A file whose map is `text`, filled up to a block, before its data."""
    header = pax(ONE + record(S + b"realsize", size) + record(S + b"name", b"real"))
    return [header, member("GNUSparseFile.1/real", text + bytes(-len(text) % 512) + data)]


def version_zero(numbers: bytes, data: bytes = b"", count: bytes = b"2") -> list[bytes]:
    """A file whose map is in its header."""
    records = record(S + b"size", b"20") + record(S + b"numblocks", count)
    return [pax(records + record(S + b"map", numbers)), member("real", data)]


def in_pieces(*numbers: bytes, data: bytes = b"") -> list[bytes]:
    """A file of version 0.0, whose offsets and lengths are records of their own."""
    records = record(S + b"size", b"20") + record(S + b"numblocks", b"%d" % (len(numbers) // 2))
    for at, number in enumerate(numbers):
        records += record(S + (b"numbytes" if at % 2 else b"offset"), number)
    return [pax(records), member("real", data)]


@pytest.mark.parametrize(
    "pieces",
    [
        version_one(b"2\n3\n2\n10\n4\n", b"abwxyz"),
        version_zero(b"3,2,10,4", b"abwxyz"),
        in_pieces(b"3", b"2", b"10", b"4", data=b"abwxyz"),
    ],
    ids=["1.0", "0.1", "0.0"],
)
def test_what_is_not_stored_is_zeros(pieces: list[bytes], arena: Arena) -> None:
    arena.unpack(*pieces, member("next", b"data"))
    assert (arena.target / "real").read_bytes() == b"\0\0\0ab\0\0\0\0\0wxyz\0\0\0\0\0\0"
    assert sorted(path.name for path in arena.target.iterdir()) == ["next", "real"]
    assert (arena.target / "next").read_bytes() == b"data"


def test_a_version_that_go_does_not_know_is_an_ordinary_file(arena: Arena) -> None:
    header = pax(record(S + b"major", b"2") + record(S + b"realsize", b"20"))
    arena.unpack(header, member("f", b"data"))
    assert (arena.target / "f").read_bytes() == b"data"


@pytest.mark.parametrize("version", ["0.0", "0.1", "1.0"])
def test_archives_of_gnu_tar(version: str, arena: Arena, tmp_path: Path) -> None:
    """With more extents than a block of the map of version 1.0 has room for."""
    place = tmp_path / "files"
    place.mkdir()
    with (place / "many").open("wb") as file:
        for number in range(100):
            file.seek(number << 17)
            file.write(b"%d" % number * 100)
        file.truncate(100 << 17)
    with (place / "empty").open("wb") as file:
        file.truncate(1 << 20)
    argv = ["tar", "--sparse", "--format=posix", f"--sparse-version={version}"]
    archive = command.run([*argv, "-C", place, "-c", "many", "empty"]).stdout
    assert len(archive) < 2 << 20
    arena.unpack(archive)
    for name in ("many", "empty"):
        assert (arena.target / name).read_bytes() == (place / name).read_bytes()


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        (version_one(b"2\n3\n4\n5\n2\n", b"abcdef"), "overlap or exceed"),
        (version_one(b"1\n17\n4\n", b"abcd"), "overlap or exceed"),
        (version_one(b"1\n0\n4\n", b"abc"), "other bytes stored"),
        (version_one(b"1\n0\n-4\n", b"abcd"), NUMBERS),
        (version_one(b"1\n0\n" + b"4" * 20 + b"\n"), NUMBERS),
        (version_one(b"70000\n0\n4\n", b"abcd"), "more than 65536 extents"),
        (version_one(b"1" * 512), "does not end"),
        (version_one(b"9\n0\n0\n"), "does not end|not a number"),
        (version_zero(b"0,4,8", b"abcd"), "another length"),
        (version_zero(b"0,4", b"abcd", count=b"9"), "another length"),
        (in_pieces(b"0", b"4", b"8", data=b"abcd"), "another length"),
        ([pax(record(S + b"numbytes", b"4")), member("f", b"abcd")], "invalid map"),
        ([pax(ONE), folder("d")], "not a file"),
        (version_one(b"0\n", size=b"%d" % (1 << 50)), "a member claims"),
    ],
)
def test_a_map_that_contradicts_itself_is_refused(
    pieces: list[bytes], message: str, arena: Arena
) -> None:
    with pytest.raises(ArchiveInvalid, match=message):
        arena.unpack(*pieces)


def test_an_archive_of_an_image_has_no_sparse_files(tmp_path: Path) -> None:
    """Its files are read in place."""
    archive = tmp_path / "image.tar"
    archive.write_bytes(b"".join([*version_one(b"1\n0\n4\n", b"abcd"), bytes(1024)]))
    with (
        pytest.raises(ArchiveInvalid, match=r"real is a sparse file.*pack it without --sparse"),
        ArchiveSource.from_file(archive, tmp_path),
    ):
        pass
