"""A snapshot's tar depends on its content alone, and its blob is made once."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import tarfile
import threading
from typing import TYPE_CHECKING

import pytest

from layerline.engine.image import stream
from layerline.engine.image.manifests import Compression
from layerline.engine.image.pack import layer_blob, pack
from layerline.errors import ArchiveInvalid
from tests.images import snapshot_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layerline.engine.store.store import Store
    from tests.unit.image.conftest import MakeTree

FILES = {"b/z": "1", "b/a": "2", "a": "3", "B": "4", "link": "-> a"}


def members(root: Path, epoch: int | None = None) -> list[tarfile.TarInfo]:
    data = b"".join(pack(root, epoch=epoch))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getmembers()


def test_members_are_in_byte_order_parents_first(make_tree: MakeTree) -> None:
    assert [m.name for m in members(make_tree(FILES))] == ["B", "a", "b", "b/a", "b/z", "link"]


def test_the_order_of_making_does_not_show(make_tree: MakeTree) -> None:
    one = make_tree(FILES)
    two = make_tree(dict(reversed(FILES.items())))
    assert list(pack(one)) == list(pack(two))


def test_names_of_owners_and_parts_of_seconds_do_not_show(make_tree: MakeTree) -> None:
    root = make_tree({"f": "x"})
    os.utime(root / "f", ns=(0, 1_999_999_999))
    (found,) = members(root)
    assert (found.mtime, found.uname, found.gname, found.pax_headers) == (1, "", "", {})


def test_times_after_the_epoch_are_set_to_it(make_tree: MakeTree) -> None:
    root = make_tree({"old": "x", "new": "x"})
    os.utime(root / "new", (5000, 5000))
    assert {m.name: m.mtime for m in members(root, epoch=2000)} == {"old": 1000, "new": 2000}


def test_links_to_other_snapshots_are_no_links(make_tree: MakeTree, tmp_path: Path) -> None:
    root = make_tree({"f": "x"})
    before = list(pack(root))
    os.link(root / "f", tmp_path / "elsewhere")
    assert list(pack(root)) == before


def test_links_within_are_links_to_the_first_name(make_tree: MakeTree) -> None:
    root = make_tree({"m": "x"})
    os.link(root / "m", root / "a")
    first, second = members(root)
    assert (first.name, first.isreg()) == ("a", True)
    assert (second.name, second.islnk(), second.linkname) == ("m", True, "a")


def test_sockets_are_left_out(make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_tree({"f": "x"})
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    assert [m.name for m in members(root)] == ["f"]


def test_the_root_is_named_when_it_is_special(make_tree: MakeTree) -> None:
    root = make_tree({"f": "x"})
    root.chmod(0o1777)
    first = next(iter(members(root)))
    assert (first.name, oct(first.mode)) == (".", "0o1777")


@pytest.mark.parametrize("compression", list(Compression))
def test_the_blob_unpacks_to_its_diff_id(
    store: Store, make_tree: MakeTree, compression: Compression
) -> None:
    layer = layer_blob(store, snapshot_of(store, make_tree(FILES)), compression)
    with store.blobs.open(layer.digest) as file:
        plain = b"".join(stream.decompress(file, compression))
    assert layer.diff_id == "sha256:" + hashlib.sha256(plain).hexdigest()
    assert layer.size == store.blobs.size(layer.digest)
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        assert archive.extractfile("b/z").read() == b"1"  # type: ignore[union-attr]


def test_the_blob_is_made_once_for_all_who_ask(store: Store, make_tree: MakeTree) -> None:
    snapshot = snapshot_of(store, make_tree({"f": "x" * 3_000_000}))
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(layer_blob(store, snapshot))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    moment = store.blobs.path(found[0].digest).stat().st_mtime_ns
    assert layer_blob(store, snapshot) == found[0]
    assert store.blobs.path(found[0].digest).stat().st_mtime_ns == moment


def test_a_blob_that_is_gone_is_made_again(store: Store, make_tree: MakeTree) -> None:
    snapshot = snapshot_of(store, make_tree(FILES))
    layer = layer_blob(store, snapshot)
    store.blobs.path(layer.digest).unlink()
    assert layer_blob(store, snapshot) == layer
    assert store.blobs.has(layer.digest)


@pytest.mark.parametrize("damage", ["cut", "changed", "followed"])
def test_a_damaged_gzip_stream_is_refused(damage: str) -> None:
    data = b"".join(stream.LayerCompressor(Compression.GZIP).compress(iter([os.urandom(100_000)])))
    broken = {
        "cut": data[:-5000],
        "changed": data[:3000] + b"\0" * 50 + data[3050:],
        "followed": data + b"garbage!!",
    }[damage]
    with pytest.raises(ArchiveInvalid, match="stream is"):
        list(stream.decompress(io.BytesIO(broken), Compression.GZIP))


def test_what_follows_a_zstd_stream_is_refused() -> None:
    data = b"".join(stream.LayerCompressor(Compression.ZSTD).compress(iter([b"x" * 100_000])))
    with pytest.raises(ArchiveInvalid, match="stream is"):
        list(stream.decompress(io.BytesIO(data + b"garbage!!"), Compression.ZSTD))


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
def test_several_members_are_one_stream(compression: Compression) -> None:
    parts = [
        b"".join(stream.LayerCompressor(compression).compress(iter([text])))
        for text in (b"one", b"two")
    ]
    assert b"".join(stream.decompress(io.BytesIO(b"".join(parts)), compression)) == b"onetwo"


def test_a_failure_of_the_maker_is_raised_at_the_reader() -> None:
    def make() -> Iterator[bytes]:
        yield b"one"
        message = "broken"
        raise ArchiveInvalid(message)

    with stream.ahead(make) as chunks:
        assert next(chunks) == b"one"
        with pytest.raises(ArchiveInvalid, match="broken"):
            next(chunks)


def test_leaving_early_ends_the_maker() -> None:
    before = threading.active_count()
    with stream.ahead(lambda: iter(lambda: b"x", b"")) as chunks:
        next(chunks)
    assert threading.active_count() == before
