"""Disk usage, hits and last use of the items in a store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from layerline import command
from layerline.engine.store.store import Store
from layerline.engine.store.usage import find_volumes, list_items, list_volumes

if TYPE_CHECKING:
    from pathlib import Path


def snapshot(store: Store, name: str, files: dict[str, bytes]) -> Path:
    with store.snapshots.draft() as draft:
        for path, data in files.items():
            (draft.fs / path).write_bytes(data)
        draft.commit(name)
    os.sync()  # ext4 tells too few blocks of a file that it is just writing to the disk
    return store.snapshots.path(name)


def test_the_sum_of_all_things_is_what_du_says(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        store.blobs.put(b"b" * 50_000)
        below = snapshot(store, "below", {"a": b"a" * 300_000, "b": b"b" * 1000})
        with store.snapshots.draft() as draft:
            os.link(below / "a", draft.fs / "a")
            draft.commit("above")
        (store.volumes.volume("uv-1") / "wheel").write_bytes(b"w" * 70_000)
        total = sum(item.size for item in list_items(store.root))
        folders = [store.root / name for name in ("blobs", "snapshots", "volumes")]
        said = command.run(["du", "-x", "-sc", "--apparent-size", "-B1", *folders]).stdout
    measured = int(said.split(b"\n")[-2].split()[0])
    assert abs(total - measured) < 0.02 * measured + 3 * 4096


def test_a_file_in_two_layers_counts_for_the_newer_one(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        below = snapshot(store, "old", {"a": b"a" * 300_000})
        with store.snapshots.draft() as draft:
            os.link(below / "a", draft.fs / "a")
            draft.commit("new")
        os.utime(store.root / "snapshots/old", (1, 1))
        sizes = {item.name: item.size for item in list_items(store.root)}
    assert sizes["new"] > 300_000 > sizes["old"]


def test_a_hole_in_a_file_takes_no_place(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        place = snapshot(store, "sparse", {"a": b"start"})
        with (place / "a").open("r+b") as file:
            file.truncate(10**12)
        (item,) = (each for each in list_items(store.root) if each.name == "sparse")
    assert item.size < 10**6


def test_a_volume_knows_how_often_it_was_used_and_when(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        for _ in range(3):
            store.volumes.volume("uv-pytorch-" + "0" * 64)
        [volume] = list_volumes(store.root)
        os.utime(volume.item.place / "uses", (5, 1_000_000_000))
        [again] = find_volumes(store.root, "uv-pytorch")
    assert (volume.key, volume.hits) == ("uv-pytorch", 3)
    assert again.item.used == 1_000_000_000
