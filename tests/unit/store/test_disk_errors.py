"""Errors of a disk say what failed, where, how much is missing, and what to do about it."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.engine.store.disk_errors import (
    Demand,
    disk_errors,
    is_disk_full,
    no_space,
    storage_error,
)
from layerline.engine.store.store import Store
from layerline.errors import HostError, NoSpace, StoreError

if TYPE_CHECKING:
    from pathlib import Path


def failed(number: int, place: Path | None = None) -> OSError:
    return OSError(number, os.strerror(number), *(() if place is None else (str(place),)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with a blob of 5000 bytes."""
    with Store.open(tmp_path / "store") as store:
        store.blobs.put(b"x" * 5000)
    return tmp_path / "store"


def test_a_full_disk_says_what_is_needed_and_what_pruning_frees(root: Path) -> None:
    error = storage_error(failed(errno.ENOSPC), "failed to do it", root / "blobs", Demand(needed=7))
    assert isinstance(error, NoSpace)
    assert str(error).startswith("failed to do it: no space left on device /")
    assert " free, 7 B needed): 'layerline store prune --keep-storage 0' would free 5.0 kB" in str(
        error
    )
    text = str(storage_error(failed(errno.EDQUOT), "it", root, Demand(written=2_000_000)))
    assert text.startswith("it: disk quota exceeded on /")
    assert ", more than 2.0 MB needed)" in text


def test_an_empty_store_is_not_worth_pruning(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        text = str(no_space("it", store.root, store=store.root))
    assert text.endswith("'layerline store prune' would free nothing")


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EROFS, "the file system is read-only: mount it writable, or set LAYERLINE_STORE to"),
        (errno.EACCES, "permission denied: run as the user with id {uid}, who owns it, or set"),
        (errno.ENOTDIR, "not a directory: set LAYERLINE_STORE to another directory"),
        (errno.EIO, "input/output error: check the disk, or set LAYERLINE_STORE to another"),
    ],
)
def test_what_else_a_disk_refuses(root: Path, number: int, reason: str) -> None:
    error = storage_error(failed(number, root), "it", root)
    assert isinstance(error, StoreError)
    assert str(error).startswith(f"it: {root}: {reason.format(uid=os.getuid())}")


def test_a_path_outside_the_store_is_not_called_the_store(tmp_path: Path, root: Path) -> None:
    error = storage_error(failed(errno.EACCES, tmp_path / "x"), "it", tmp_path, store=root)
    assert isinstance(error, HostError)
    assert str(error).endswith("or use another path")


def test_what_is_not_the_disks_fault_passes(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), disk_errors("it", tmp_path):
        (tmp_path / "missing").read_bytes()


@pytest.mark.usefixtures("loop_mounts")
def test_blocks_reserved_for_root_are_not_free(tmp_path: Path) -> None:
    image, place = tmp_path / "image", tmp_path / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    command.run(["mkfs.ext4", "-q", "-F", "-m", "50", image])
    command.run(["mount", "-o", "loop", image, place])
    try:
        assert not is_disk_full(place)
        disk = os.statvfs(place)
        (place / "filler").write_bytes(b"x" * disk.f_bavail * disk.f_frsize)
        assert os.statvfs(place).f_bfree * disk.f_frsize > 20 << 20
        assert is_disk_full(place)
        assert "(0 B free)" in str(no_space("it", place))
    finally:
        command.run(["umount", place])


def test_a_store_that_cannot_be_created_names_the_setting(tmp_path: Path) -> None:
    store = tmp_path / "home" / ".local" / "store"
    for number in (errno.EROFS, errno.ENOENT, errno.EACCES):
        error = storage_error(failed(number, tmp_path / "home"), "it", store, store=store)
        assert str(error).endswith("set LAYERLINE_STORE to another directory")
