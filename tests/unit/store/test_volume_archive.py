"""Volume archives: a round trip keeps everything, and hostile archives cannot write elsewhere."""

from __future__ import annotations

import io
import json
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from layerline.engine.store.store import Store
from layerline.engine.store.usage import find_volumes
from layerline.engine.store.volume_archive import export_volume, import_volume
from layerline.errors import ArchiveInvalid, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEAD = json.dumps({"format": 1, "identity": "uv-9"}).encode()


def export_sample(tmp_path: Path) -> Path:
    with Store.open(tmp_path / "one") as store:
        data = store.volumes.volume("uv-9")
        (data / "sub").mkdir(mode=0o750)
        (data / "sub/wheel").write_bytes(b"w" * 100_000)
        (data / "sub/wheel").chmod(0o640)
        os.link(data / "sub/wheel", data / "again")
        (data / "link").symlink_to("/etc/passwd")
        os.utime(data / "sub/wheel", (1_000_000_000, 1_000_000_000))
        export_volume(store, find_volumes(store.root, "uv-9")[0], tmp_path / "uv.tar")
    return tmp_path / "uv.tar"


def archive(path: Path, *entries: tarfile.TarInfo | tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for entry in entries:
            name, data = entry if isinstance(entry, tuple) else (entry.name, b"")
            info = tarfile.TarInfo(name) if isinstance(entry, tuple) else entry
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, 0o755
    return info


def test_a_volume_arrives_as_it_left(tmp_path: Path) -> None:
    file = export_sample(tmp_path)
    with Store.open(tmp_path / "two") as store:
        assert import_volume(store, file) == "uv-9"
        data = store.volumes.volume("uv-9")
    wheel = (data / "sub/wheel").stat()
    assert (data / "sub/wheel").read_bytes() == b"w" * 100_000
    assert (wheel.st_mode & 0o777, wheel.st_mtime) == (0o640, 1_000_000_000)
    assert (data / "again").stat().st_ino == wheel.st_ino
    assert (data / "sub").stat().st_mode & 0o777 == 0o750
    assert str((data / "link").readlink()) == "/etc/passwd"


def test_an_export_may_go_through_a_link_to_a_directory(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with Store.open(tmp_path / "store") as store:
        store.volumes.volume("uv-9")
        export_volume(store, find_volumes(store.root, "uv-9")[0], tmp_path / "link/uv.tar")
    assert (tmp_path / "real/uv.tar").is_file()


def test_an_existing_volume_is_replaced_only_on_request(tmp_path: Path) -> None:
    file = export_sample(tmp_path)
    with Store.open(tmp_path / "two") as store:
        (store.volumes.volume("uv-9") / "mine").write_text("mine")
        with pytest.raises(StoreError, match="--replace"):
            import_volume(store, file)
        assert (store.volumes.volume("uv-9") / "mine").exists()
        import_volume(store, file, replace=True)
        assert not (store.volumes.volume("uv-9") / "mine").exists()


@pytest.mark.parametrize("length", [0, 512, 60_000, 103_000])
def test_a_truncated_file_is_refused(tmp_path: Path, length: int) -> None:
    file = export_sample(tmp_path)
    os.truncate(file, length)
    with Store.open(tmp_path / "two") as store:
        with pytest.raises(ArchiveInvalid):
            import_volume(store, file)
        assert list((store.root / "volumes").iterdir()) == []


@pytest.mark.parametrize(
    "entries",
    [
        [("data/../../escape", b"x")],
        [("/escape", b"x")],
        [("other/file", b"x")],
        [special("data/l", tarfile.SYMTYPE, "{outside}"), ("data/l/escape", b"x")],
        [special("data/l", tarfile.LNKTYPE, "../../escape")],
        [
            special("data/l", tarfile.SYMTYPE, "/etc/passwd"),
            special("data/h", tarfile.LNKTYPE, "data/l"),
        ],
        [special("data/null", tarfile.CHRTYPE)],
        [special("data/pipe", tarfile.FIFOTYPE)],
        [("data/a", b"1"), ("data/a", b"2")],
    ],
)
def test_hostile_files_are_refused_and_write_nothing(
    tmp_path: Path, entries: list[tarfile.TarInfo | tuple[str, bytes]]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for entry in entries:
        if isinstance(entry, tarfile.TarInfo):
            entry.linkname = entry.linkname.replace("{outside}", str(outside))
    root = special("data", tarfile.DIRTYPE)
    end = ("end.json", json.dumps({"entries": len(entries) + 1}).encode())
    file = archive(tmp_path / "hostile.tar", ("volume.json", HEAD), root, *entries, end)
    with Store.open(tmp_path / "store") as store:
        with pytest.raises((ArchiveInvalid, StoreError)):
            import_volume(store, file)
        assert list((store.root / "volumes").iterdir()) == []
    assert list(outside.iterdir()) == []
    assert not (tmp_path / "escape").exists()


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b"not a tar at all" * 100),
        lambda path: archive(path, ("volume.json", b"[]"), ("end.json", b"{}")),
        lambda path: archive(path, ("volume.json", b'{"format": 2}'), ("end.json", b"{}")),
        lambda path: archive(path, ("volume.json", HEAD), ("end.json", b'{"entries": 5}')),
    ],
)
def test_other_files_are_refused_by_a_sentence(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    make(tmp_path / "file")
    with (
        Store.open(tmp_path / "store") as store,
        pytest.raises(ArchiveInvalid, match="not a volume"),
    ):
        import_volume(store, tmp_path / "file")
