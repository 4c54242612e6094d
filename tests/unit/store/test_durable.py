"""A power cut loses nothing that was acknowledged, and leaves no partial item.

The file system is an ext4 in a file; the cut is the ioctl that stops it without writing its
journal. Where a loss is expected, the test shows that the cut is a real one.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.engine.store.digest import digest_bytes, parse_digest
from layerline.engine.store.durable import publish
from layerline.engine.store.store import Store
from layerline.kernel import sync_filesystem
from layerline.settings import python

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parents[3] / "src"
SHUTDOWN = 0x8004587D
WITHOUT_JOURNAL = struct.pack("I", 2)
SESSION = """
import sys, time
from pathlib import Path
from layerline.engine.store import snapshots
from layerline.engine.store.store import Store

def commit(store, name):
    with store.snapshots.draft() as draft:
        for number in range(20):
            (draft.fs / f"f{number}").write_bytes(b"x" * 10_000)
        draft.commit(name)
    store.index.put("result", name, {"name": name}, snapshots=[name])

snapshots._GATHER_SECONDS = 1000.0
with Store.open(Path(sys.argv[1]), boot="before the cut") as store:
    {steps}
    print("done", flush=True)
    time.sleep(60)
"""


class Disk:
    """A separate file system that can lose its power."""

    def __init__(self, place: Path) -> None:
        self._image = place / "image"
        self.root = place / "disk"
        self.root.mkdir()
        with self._image.open("wb") as file:
            file.truncate(96 << 20)
        command.run(["mkfs.ext4", "-q", "-F", self._image])
        self._mount()

    def session(self, steps: str) -> None:
        """Run steps in a session of another process, and cut the power when they are done."""
        script = SESSION.replace("{steps}", steps)
        words = [python(), "-c", script, str(self.root / "store")]
        process = command.start(words, env={"PYTHONPATH": str(SOURCE)}, stdout=command.PIPE)
        assert process.stdout is not None
        with process.stdout as lines:
            assert lines.readline() == b"done\n"
        self._stop()
        process.kill()
        process.wait()
        self._restart()

    def cut_power(self) -> None:
        """Lose the power, and mount it again."""
        self._stop()
        self._restart()

    def close(self) -> None:
        """Unmount."""
        command.run(["umount", self.root])

    def _stop(self) -> None:
        handle = os.open(self.root, os.O_RDONLY)
        fcntl.ioctl(handle, SHUTDOWN, WITHOUT_JOURNAL)
        os.close(handle)

    def _restart(self) -> None:
        """Mount a copy: another mount namespace may keep the stopped file system alive."""
        self.close()
        copy = self._image.with_name(f"{self._image.name}-")
        command.run(["cp", "--sparse=always", self._image, copy])
        self._image.unlink()
        self._image = copy
        self._mount()

    def _mount(self) -> None:
        command.run(["mount", "-o", "loop", self._image, self.root])


@pytest.fixture
def disk(tmp_path: Path, loop_mounts: None) -> Iterator[Disk]:  # noqa: ARG001
    """An empty disk."""
    disk = Disk(tmp_path)
    yield disk
    disk.close()


def whole(store: Store, name: str) -> bool:
    """Whether all files of a snapshot are complete."""
    return [path.stat().st_size for path in store.snapshots.path(name).iterdir()] == [10_000] * 20


def test_a_file_written_carelessly_is_lost(disk: Disk) -> None:
    (disk.root / "file").write_bytes(b"x")
    disk.cut_power()
    assert not (disk.root / "file").exists()


def test_a_file_that_was_published_stays(disk: Disk) -> None:
    for number in range(10):
        (disk.root / "part").write_bytes(b"bytes")
        publish(disk.root / "part", disk.root / f"f{number}")
        disk.cut_power()
        assert (disk.root / f"f{number}").read_bytes() == b"bytes"


def test_one_sync_is_enough_for_a_tree(disk: Disk) -> None:
    for number in range(50):
        (disk.root / f"d{number}").mkdir()
        (disk.root / f"d{number}" / "f").write_bytes(b"x" * 5000)
    sync_filesystem(disk.root)
    disk.cut_power()
    sizes = [(disk.root / f"d{number}" / "f").stat().st_size for number in range(50)]
    assert sizes == [5000] * 50


def test_blobs_rows_and_volumes_are_acknowledged_for_good(disk: Disk) -> None:
    steps = """
    number = len(list(store.index.scan("value")))
    blob = store.blobs.put(b"bytes %d" % number)
    store.index.put("value", str(number), {"digest": blob.digest})
    store.volumes.volume(f"v{number}", seed=lambda place: (place / "f").write_bytes(b"x" * 5000))
    """
    for count in range(1, 6):
        disk.session(steps)
        with Store.open(disk.root / "store", boot="after the cut") as store:
            rows = dict(store.index.scan("value"))
            assert len(rows) == count
            for number, row in rows.items():
                assert (
                    store.blobs.read(parse_digest(str(row["digest"]))).decode() == f"bytes {number}"
                )
                assert (store.volumes.volume(f"v{number}") / "f").stat().st_size == 5000


def test_a_blob_alone_stays(disk: Disk) -> None:
    disk.session('store.blobs.put(b"bytes" * 1000)')
    with Store.open(disk.root / "store", boot="after the cut") as store:
        assert store.blobs.read(digest_bytes(b"bytes" * 1000)) == b"bytes" * 1000


def test_results_that_were_settled_stay(disk: Disk) -> None:
    for number in range(5):
        disk.session(f"commit(store, 'a{number}'); store.settle()")
        with Store.open(disk.root / "store", boot="after the cut") as store:
            for name in (f"a{each}" for each in range(number + 1)):
                assert store.index.get("result", name) == {"name": name}
                assert whole(store, name)


def test_results_that_were_not_settled_are_a_miss_and_can_be_made_again(disk: Disk) -> None:
    steps = "commit(store, 'kept'); store.settle(); commit(store, 'a'); store.blobs.put(b'sync')"
    disk.session(steps)
    with Store.open(disk.root / "store", boot="after the cut") as store:
        assert store.index.get("result", "kept") == {"name": "kept"}
        assert not whole(store, "a"), "the layer has reached the disk: the test is blind"
        assert store.index.get("result", "a") is None
        with store.snapshots.draft() as draft:
            (draft.fs / "again").write_text("x")
            draft.commit("a")
        assert [path.name for path in store.snapshots.path("a").iterdir()] == ["again"]
        assert store.index.get("result", "a") == {"name": "a"}


def test_without_full_sync_the_index_would_forget(disk: Disk) -> None:
    steps = """
    store.index._database.execute("PRAGMA synchronous = NORMAL")
    store.index.put("value", "k", {"a": 1})
    """
    disk.session(steps)
    with Store.open(disk.root / "store", boot="after the cut") as store:
        assert store.index.get("value", "k") is None
