"""A tree is removed whatever is in it, and nothing else is."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.engine.image.unpack_root import UnpackRoot
from layerline.engine.store.fsck import find_problems
from layerline.engine.store.pruning import prune
from layerline.engine.store.rmtree import remove_tree
from layerline.engine.store.store import Store
from layerline.engine.store.usage import Sizes
from layerline.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def bind(source: Path, target: Path) -> Iterator[None]:
    """Mount what is at `source` at `target`, too; both are on one file system."""
    command.run(["mount", "--bind", source, target])
    try:
        yield
    finally:
        command.run(["umount", target])


def test_everything_below_goes(tmp_path: Path) -> None:
    place = tmp_path / "t"
    (place / "d" / "e").mkdir(parents=True)
    (place / "d" / "f").write_text("x")
    os.mkfifo(place / "d" / "pipe")
    (place / "closed").mkdir(mode=0)
    remove_tree(place)
    assert not place.exists()
    remove_tree(place)
    remove_tree(tmp_path / "no" / "parent")


def test_links_are_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("x")
    place = tmp_path / "t"
    place.mkdir()
    (place / "link").symlink_to(victim)
    (tmp_path / "top").symlink_to(victim)
    remove_tree(place)
    remove_tree(tmp_path / "top")
    assert (victim / "file").read_text() == "x"
    assert not (tmp_path / "top").is_symlink()


def test_a_tree_deeper_than_any_path_goes(tmp_path: Path) -> None:
    top = tmp_path / "t"
    top.mkdir()
    handle = os.open(top, os.O_RDONLY)
    for _ in range(700):
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    remove_tree(top)
    assert not top.exists()


@pytest.mark.usefixtures("root")
def test_nothing_behind_a_mount_is_removed_and_everything_else_is(tmp_path: Path) -> None:
    victim, place = tmp_path / "victim", tmp_path / "t"
    victim.mkdir(mode=0o500)
    (victim / "file").write_text("x")
    (place / "a b").mkdir(parents=True)
    (place / "other" / "deep").mkdir(parents=True)
    with bind(victim, place / "a b"):
        with pytest.raises(StoreError, match=r"t/a b is a mount point: .* 'umount '.*/t/a b''"):
            remove_tree(place)
        assert (victim / "file").read_text() == "x"
        assert victim.stat().st_mode & 0o777 == 0o500
        assert [path.name for path in place.iterdir()] == ["a b"]
    remove_tree(place)
    assert not place.exists()


@pytest.mark.usefixtures("root")
def test_a_mounted_file_and_a_mount_on_the_tree_stay(tmp_path: Path) -> None:
    victim, place = tmp_path / "victim", tmp_path / "t"
    victim.write_text("x")
    place.mkdir()
    (place / "file").touch()
    with bind(victim, place / "file"), pytest.raises(StoreError, match="t/file is a mount point"):
        remove_tree(place)
    with bind(place, place), pytest.raises(StoreError, match="t is a mount point"):
        remove_tree(place)
    assert victim.read_text() == "x"
    assert (place / "file").exists()


@pytest.mark.usefixtures("root")
def test_a_mount_in_scratch_does_not_block_a_start_and_is_reported(tmp_path: Path) -> None:
    root, victim = tmp_path / "store", tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("x")
    with Store.open(root):
        pass
    left = root / "scratch" / "1-dead"
    (left / "here").mkdir(parents=True)
    with bind(victim, left / "here"):
        with Store.open(root) as store:
            [problem] = find_problems(store)
        assert (problem.kind, problem.name) == ("mount", "scratch/1-dead/here")
        assert "umount" in problem.what
        assert (victim / "file").exists()
    with Store.open(root) as store:
        assert find_problems(store) == []
        assert not left.exists()


@pytest.mark.usefixtures("root")
def test_pruning_leaves_what_has_a_mount_in_it(tmp_path: Path) -> None:
    root, victim = tmp_path / "store", tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("x")
    with Store.open(root) as store:
        store.blobs.put(b"x")
        with store.snapshots.draft() as draft:
            (draft.fs / "m").mkdir()
            draft.commit("layer")
    with bind(victim, root / "snapshots/layer/fs/m"):
        with pytest.raises(StoreError, match="layer/fs/m is mounted in: unmount it"):
            prune(root, keep_bytes=0)
        assert list((root / "blobs").iterdir()) == []
        assert (victim / "file").exists()
    prune(root, keep_bytes=0)
    assert list((root / "snapshots").iterdir()) == []


@pytest.mark.usefixtures("root")
def test_what_is_mounted_in_a_tree_is_not_counted(tmp_path: Path) -> None:
    victim, place = tmp_path / "victim", tmp_path / "t"
    victim.mkdir()
    (victim / "file").write_bytes(b"x" * (1 << 20))
    (place / "directory").mkdir(parents=True)
    (place / "file").touch()
    empty = Sizes().of(place)
    with bind(victim, place / "directory"), bind(victim / "file", place / "file"):
        assert Sizes().of(place) <= empty


@pytest.mark.usefixtures("root")
def test_a_layer_does_not_remove_what_is_mounted_where_it_is_unpacked(tmp_path: Path) -> None:
    victim, place = tmp_path / "victim", tmp_path / "t"
    victim.mkdir()
    (victim / "file").write_text("x")
    (place / "d" / "here").mkdir(parents=True)
    (place / "d" / "other").touch()
    with bind(victim, place / "d" / "here"), UnpackRoot.open(place) as root:
        with pytest.raises(StoreError, match="t/d/here is a mount point"):
            root.clear(root.descriptor, b"d")
        assert (victim / "file").exists()
        assert [path.name for path in (place / "d").iterdir()] == ["here"]
