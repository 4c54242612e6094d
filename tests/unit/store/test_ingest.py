"""Imports of host directories: exact, incremental, and never through a link."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from layerline.engine.store import hostwalk
from layerline.engine.store import ingest as module
from layerline.engine.store.import_digests import digest_in_import
from layerline.engine.store.ingest import Ingested, ingest
from layerline.engine.store.tree_digest import tree_digest
from layerline.errors import NotADirectory, PathError, PathNotFound
from layerline.patterns import Decision, Filter

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.store.store import Store


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A directory of the host whose files have not changed for a while."""
    root = tmp_path / "host"
    (root / "d" / "empty").mkdir(parents=True)
    (root / "d" / "f").write_bytes(b"content")
    (root / "run.sh").write_bytes(b"\x00\x01\xff")
    (root / "run.sh").chmod(0o750)
    (root / "link").symlink_to("../outside")
    os.utime(root / "d" / "f", (1000, 1000))
    settle()
    return root


def settle() -> None:
    """Wait until the clock of the file system has advanced."""
    time.sleep(0.06)


def contents(store: Store, found: Ingested) -> dict[str, bytes]:
    """The files of a snapshot."""
    tree = store.tree([found.snapshot])
    return {entry.path: tree.read(entry.path) for entry in tree.walk() if entry.is_file}


def test_the_digests_of_its_directories_are_recorded(store: Store, host: Path) -> None:
    (host / "d" / "more").mkdir(mode=0o700)
    name = ingest(store, host).snapshot
    tree = store.tree([name])
    for path in ("/", "/d", "/d/empty", "/d/more"):
        assert digest_in_import(store, name, path) == tree_digest(tree, path)
    for path in ("/d/f", "/link", "/none"):
        assert digest_in_import(store, name, path) is None
    assert digest_in_import(store, "other", "/") is None


def test_names_bytes_modes_times_and_links_arrive(store: Store, host: Path) -> None:
    os.mkfifo(host / "pipe")
    found = ingest(store, host)
    tree = store.tree([found.snapshot])
    assert [entry.path for entry in tree.walk()] == ["/d", "/d/empty", "/d/f", "/link", "/run.sh"]
    assert tree.read("run.sh") == b"\x00\x01\xff"
    assert tree.lookup("run.sh").mode == 0o750
    assert tree.lookup("d/f").stat.st_mtime == 1000
    assert tree.lookup("d").stat.st_mtime_ns == (host / "d").stat().st_mtime_ns
    assert tree.lookup("link", follow=False).target == "../outside"
    assert tree_digest(tree) == found.digest


def test_owners_and_attributes_stay_behind(store: Store, host: Path, root: None) -> None:  # noqa: ARG001
    os.chown(host / "d" / "f", 12, 34)
    os.setxattr(host / "d" / "f", "user.note", b"x")
    entry = store.tree([ingest(store, host).snapshot]).lookup("d/f")
    assert (entry.stat.st_uid, entry.stat.st_gid) == (0, 0)
    assert os.listxattr(entry.location) == []


def test_the_second_time_nothing_is_read(
    store: Store, host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ingest(store, host)

    def refuse(_self: object, path: str) -> int:
        pytest.fail(f"{path} was read again")

    monkeypatch.setattr(hostwalk.Handles, "open", refuse)
    assert ingest(store, host) == first


def test_one_change_reads_one_file(
    store: Store, host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ingest(store, host)
    (host / "run.sh").write_bytes(b"changed")
    opened: set[str] = set()
    original = hostwalk.Handles.open

    def record(self: hostwalk.Handles, path: str) -> int:
        opened.add(path)
        return original(self, path)

    monkeypatch.setattr(hostwalk.Handles, "open", record)
    second = ingest(store, host)
    assert opened == {"run.sh"}
    assert contents(store, first)["/run.sh"] == b"\x00\x01\xff"
    assert contents(store, second) == {"/d/f": b"content", "/run.sh": b"changed"}
    assert tree_digest(store.tree([second.snapshot])) == second.digest


def test_equal_content_is_one_snapshot(store: Store, host: Path, tmp_path: Path) -> None:
    first = ingest(store, host)
    os.utime(host / "d" / "f", (2000, 2000))
    assert ingest(store, host) == first
    other = tmp_path / "other"
    (other / "d" / "empty").mkdir(parents=True)
    (other / "d" / "f").write_bytes(b"content")
    (other / "run.sh").write_bytes(b"\x00\x01\xff")
    (other / "run.sh").chmod(0o750)
    (other / "link").symlink_to("../outside")
    assert ingest(store, other) == first


def test_a_shared_file_has_the_time_of_the_host(store: Store, host: Path) -> None:
    ingest(store, host)
    os.utime(host / "d" / "f", (2000, 2000))
    settle()
    ingest(store, host)
    (host / "run.sh").write_bytes(b"changed")
    tree = store.tree([ingest(store, host).snapshot])
    assert tree.lookup("d/f").stat.st_mtime == 2000


def test_a_change_in_the_same_tick_of_the_clock_is_seen(store: Store, host: Path) -> None:
    (host / "run.sh").write_bytes(b"one")
    info = (host / "run.sh").stat()
    first = ingest(store, host)
    for text in (b"two", b"six"):
        (host / "run.sh").write_bytes(text)
        os.utime(host / "run.sh", ns=(info.st_atime_ns, info.st_mtime_ns))
        assert contents(store, ingest(store, host))["/run.sh"] == text
    assert contents(store, first)["/run.sh"] == b"one"


def test_a_fresh_file_is_not_trusted_by_its_times(store: Store, host: Path) -> None:
    (host / "fresh").write_bytes(b"x")
    ingest(store, host)
    assert "fresh" not in known_files(store, host)
    settle()
    ingest(store, host)
    assert "fresh" in known_files(store, host)


def known_files(store: Store, host: Path) -> list[str]:
    """The files whose digests the last import remembered."""
    return list(module._load_last(store, host).files)


def test_clocks_of_one_second_are_given_more_time() -> None:
    second = 1_000_000_000
    fine = hostwalk.Observation("f", 0o100644, 1, 100 * second + 1, 100 * second + 1, 7)
    coarse = fine._replace(mtime_ns=100 * second, ctime_ns=100 * second)
    assert not module._may_still_change(fine, 101 * second)
    assert module._may_still_change(coarse, 101 * second)
    assert not module._may_still_change(coarse, 103 * second)


@pytest.mark.parametrize("change", ["add", "remove", "rename", "chmod", "retarget", "kind"])
def test_every_change_is_seen(store: Store, host: Path, change: str) -> None:
    first = ingest(store, host)
    match change:
        case "add":
            (host / "d" / "empty" / "n").touch()
        case "remove":
            (host / "d" / "f").unlink()
        case "rename":
            (host / "d" / "f").rename(host / "d" / "g")
        case "chmod":
            (host / "d" / "f").chmod(0o600)
        case "retarget":
            (host / "link").unlink()
            (host / "link").symlink_to("elsewhere")
        case _:
            (host / "d" / "f").unlink()
            (host / "d" / "f").mkdir()
    second = ingest(store, host)
    assert second != first
    assert tree_digest(store.tree([second.snapshot])) == second.digest


def test_only_what_is_wanted_is_imported(store: Store, host: Path) -> None:
    found = ingest(store, host, path_filter=Filter(include=["**/f"]))
    assert [entry.path for entry in store.tree([found.snapshot]).walk()] == ["/d", "/d/f"]
    everything = ingest(store, host)
    assert everything != found
    assert ingest(store, host, path_filter=Filter(include=["**/f"])) == found


def test_a_lost_snapshot_is_made_again(store: Store, host: Path) -> None:
    first = ingest(store, host)
    store.settle()
    place = store.snapshots.path(first.snapshot)
    (place.parent / "boot").write_text("the boot before a power cut")
    again = ingest(store, host)
    assert again == first
    assert contents(store, again)["/d/f"] == b"content"
    assert store.snapshots.has(first.snapshot)


def test_a_damaged_manifest_means_reading_again(store: Store, host: Path) -> None:
    ingest(store, host)
    for blob in (store.root / "blobs").iterdir():
        blob.chmod(0o600)
        blob.write_bytes(b"{}")
    (host / "new").write_bytes(b"x")
    assert contents(store, ingest(store, host))["/d/f"] == b"content"


def test_a_directory_swapped_for_a_link_is_not_followed(
    store: Store, host: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "f").write_bytes(b"secret")

    def swap(path: str, *, is_dir: bool) -> Decision:
        if path == "run.sh" and not is_dir:  # the last to be looked at, when d has been
            (host / "d").rename(tmp_path / "moved")
            (host / "d").symlink_to(tmp_path / "outside")
        return Decision.KEEP

    found = ingest(store, host, path_filter=swap)
    assert contents(store, found) == {"/run.sh": b"\x00\x01\xff"}


def test_what_cannot_be_imported_is_named(store: Store, host: Path) -> None:
    with pytest.raises(PathNotFound, match="no such file or directory"):
        ingest(store, host / "nope")
    with pytest.raises(NotADirectory, match="not a directory"):
        ingest(store, host / "run.sh")


def test_a_directory_that_is_too_deep_is_refused(store: Store, host: Path) -> None:
    deep = host / "/".join(["d"] * 310)
    deep.mkdir(parents=True)
    with pytest.raises(PathError, match="nested more than"):
        ingest(store, host)


def test_names_that_are_not_text_arrive(store: Store, host: Path) -> None:
    name = os.fsdecode(b"\xff\n")
    (host / name).write_bytes(b"x")
    first = ingest(store, host)
    assert contents(store, first)[f"/{name}"] == b"x"
    settle()
    assert ingest(store, host) == first
    assert ingest(store, host) == first
