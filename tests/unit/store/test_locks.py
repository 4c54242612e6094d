"""Locks exclude threads and processes, and never outlive their holder."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.engine.store.digest import digest_of
from layerline.engine.store.locks import Locks, try_lock
from layerline.errors import Cancelled, StoreBusy
from layerline.settings import python

if TYPE_CHECKING:
    from pathlib import Path

HOLDER = """
import fcntl, os, sys, time
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(handle, fcntl.LOCK_EX)
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


def test_a_killed_process_leaves_no_lock(locks: Locks, tmp_path: Path) -> None:
    path = tmp_path / digest_of("one")
    holder = command.start([python(), "-c", HOLDER, path], stdout=command.PIPE)
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


def test_a_lock_file_replaced_while_it_is_being_locked_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    original = fcntl.flock

    def replace_first(handle: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", original)
        path.unlink()
        path.touch()
        original(handle, how)

    monkeypatch.setattr(fcntl, "flock", replace_first)
    held = try_lock(path)
    assert held is not None
    assert try_lock(path) is None
    os.close(held)


def test_a_lock_file_that_was_removed_lets_no_second_holder_keep_on(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = try_lock(path)
    assert first is not None
    path.unlink()
    second = try_lock(path)
    assert second is not None
    assert os.path.samestat(os.fstat(second), path.stat())
    assert try_lock(path) is None
    os.close(first)
    assert try_lock(path) is None
    os.close(second)
