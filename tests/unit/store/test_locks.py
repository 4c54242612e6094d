"""Locks exclude threads and processes, and never outlive their holder."""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from layerline import command
from layerline.engine.store.cancellation import cancelled_by
from layerline.engine.store.locks import Locks
from layerline.engine.store.pruning import prune
from layerline.engine.store.store import Store
from layerline.errors import Cancelled, StoreBusy, StoreVersion
from layerline.settings import python

SOURCE = Path(__file__).parents[3] / "src"
HOLDER = """
import sys, time
from pathlib import Path
from layerline.engine.store.locks import Locks
with Locks(Path(sys.argv[1])).exclusive("one"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def locks(tmp_path: Path) -> Locks:
    """Locks in an empty directory."""
    return Locks(tmp_path)


def test_threads_of_one_process_exclude_each_other(locks: Locks, tmp_path: Path) -> None:
    witness = tmp_path / "in-use"

    def enter(_number: int) -> None:
        with locks.exclusive("one"):
            witness.mkdir()
            time.sleep(0.002)
            witness.rmdir()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(enter, range(24)))


def test_different_names_do_not_exclude_each_other(locks: Locks) -> None:
    with locks.exclusive("one"), locks.exclusive("../two", timeout=0.1):
        pass


def test_waiting_ends_after_the_timeout(locks: Locks) -> None:
    began = time.monotonic()
    with locks.exclusive("one"), pytest.raises(StoreBusy, match=r"timed out .* another run"):
        locks.exclusive("one", timeout=0.1).__enter__()
    assert 0.1 <= time.monotonic() - began < 2


def test_waiting_can_be_cancelled(locks: Locks) -> None:
    cancel = threading.Event()
    cancel.set()
    with locks.exclusive("one"), pytest.raises(Cancelled):
        locks.exclusive("one", cancel=cancel).__enter__()


def test_waiting_ends_when_the_work_of_the_thread_is_cancelled(locks: Locks) -> None:
    cancel = threading.Event()
    with locks.exclusive("one"), cancelled_by(cancel):
        threading.Timer(0.1, cancel.set).start()
        with pytest.raises(Cancelled):
            locks.exclusive("one", timeout=10).__enter__()


def test_a_killed_process_leaves_no_lock(locks: Locks, tmp_path: Path) -> None:
    env = {"PYTHONPATH": str(SOURCE)}
    holder = command.start([python(), "-c", HOLDER, tmp_path], env=env, stdout=command.PIPE)
    assert holder.stdout is not None
    with holder.stdout as lines:
        assert lines.readline() == b"held\n"
        with pytest.raises(StoreBusy):
            locks.exclusive("one", timeout=0).__enter__()
        holder.kill()
        holder.wait()
    with locks.exclusive("one", timeout=5):
        pass


def test_a_program_started_meanwhile_does_not_keep_the_lock(locks: Locks) -> None:
    with locks.exclusive("one"):
        sleeper = command.start(["sleep", "60"])
    try:
        with locks.exclusive("one", timeout=0.1):
            pass
    finally:
        sleeper.kill()
        sleeper.wait()


def test_sharers_keep_an_exclusive_holder_out(locks: Locks) -> None:
    with locks.shared("one"), locks.shared("one"), locks.try_exclusive("one") as alone:
        assert not alone
    with locks.try_exclusive("one") as alone:
        assert alone
        with pytest.raises(StoreBusy):
            locks.exclusive("one", timeout=0).__enter__()


def remove_what_can_be(root: Path) -> None:
    for path in root.iterdir():
        if path.name not in ("blobs", "snapshots", "volumes", "scratch"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_two_sessions_never_hold_a_lock_whose_file_is_removed(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with Store.open(root) as one, Store.open(root) as other, one.locks.exclusive("volume v"):
        scratch = other.scratch
        remove_what_can_be(root)
        with pytest.raises(StoreBusy):
            other.locks.exclusive("volume v", timeout=0.1).__enter__()
        # Without the file of its locks, the store is none: nobody else gets in.
        with pytest.raises(StoreVersion), Store.open(root):
            pass
        with pytest.raises(StoreVersion):
            prune(root, keep_bytes=0, timeout=0)
        assert scratch.is_dir()


def test_the_scratch_of_a_session_stays_whatever_is_removed_next_to_it(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        for path in (tmp_path / "scratch").iterdir():
            if path != store.scratch:
                path.unlink()
        shutil.rmtree(tmp_path / "locks", ignore_errors=True)
        with Store.open(tmp_path):
            assert store.scratch.is_dir()
        with pytest.raises(StoreBusy):
            prune(tmp_path, keep_bytes=0, timeout=0)


def test_sessions_that_create_a_store_together_share_its_locks(tmp_path: Path) -> None:
    def enter(number: int) -> None:
        barrier.wait()
        with Store.open(tmp_path / "store") as store, store.locks.exclusive("one"):
            (tmp_path / f"in-use-{number}").mkdir()
            time.sleep(0.002)
            (tmp_path / f"in-use-{number}").rmdir()

    for _ in range(5):
        barrier = threading.Barrier(8)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(enter, [0] * 8))
        shutil.rmtree(tmp_path / "store")
