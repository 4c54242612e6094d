"""A layer whose files are in another one is recognised by its links, and taken out of it again."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from layerline.engine.cache.placement import is_placed
from layerline.engine.image.layer_import import fill_promised, received_name
from layerline.engine.image.manifests import FAMILIES, Compression, MediaTypes
from layerline.engine.image.pack import layer_blob, tar_digest
from layerline.engine.store.flatten import flatten
from layerline.engine.store.promise import Promise
from layerline.engine.store.store import Store
from layerline.errors import ArchiveInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WITHIN = "opt/venv"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as store:
        yield store


@pytest.fixture
def snapshots(store: Store) -> tuple[str, str]:
    """A layer of files, and one that has links to them in a directory."""
    with store.snapshots.draft() as draft:
        (draft.fs / "lib").mkdir()
        (draft.fs / "lib/a").write_text("a")
        (draft.fs / "lib/b").symlink_to("a")
        (draft.fs / "lib").chmod(0o750)
        source = draft.commit("1" * 64)
    with store.snapshots.draft() as draft:
        (draft.fs / WITHIN).mkdir(parents=True)
        flatten([store.snapshots.path(source)], draft.fs / WITHIN)
        placed = draft.commit("2" * 64)
    return source, placed


def add(place: Path) -> None:
    (place / "lib/c").write_text("c")


def copy(place: Path) -> None:
    shutil.copy2(place / "lib/a", place / "copy")
    (place / "copy").rename(place / "lib/a")


def remove(place: Path) -> None:
    (place / "lib/b").unlink()


def change_mode(place: Path) -> None:
    (place / "lib").chmod(0o755)


def change_time(place: Path) -> None:
    os.utime(place, (1, 1))


def test_links_to_the_same_files_are_their_place(store: Store, snapshots: tuple[str, str]) -> None:
    source, placed = map(store.snapshots.path, snapshots)
    assert is_placed([source], placed / WITHIN)
    assert not is_placed([source], placed)
    assert not is_placed([source], placed / "missing")


@pytest.mark.parametrize("change", [add, copy, remove, change_mode, change_time])
def test_anything_else_is_not(
    store: Store, snapshots: tuple[str, str], change: Callable[[Path], None]
) -> None:
    source, placed = map(store.snapshots.path, snapshots)
    change(placed / WITHIN)
    assert not is_placed([source], placed / WITHIN)


def test_the_files_are_taken_out_of_the_layer(store: Store, snapshots: tuple[str, str]) -> None:
    source, placed = snapshots
    promise = promised(store, placed, WITHIN)
    name = received_name(promise.digest, WITHIN)
    fill_promised(store, name, promise)
    assert tar_digest(store.snapshots.path(name)) == tar_digest(store.snapshots.path(source))


@pytest.mark.parametrize("within", ["opt/link", "opt/../opt/venv", "opt//venv", "opt/venv/lib/a"])
def test_a_path_that_leads_elsewhere_is_refused(
    store: Store, snapshots: tuple[str, str], within: str
) -> None:
    _, placed = snapshots
    (store.snapshots.path(placed) / "opt/link").symlink_to("venv")
    promise = promised(store, placed, within)
    with pytest.raises(ArchiveInvalid, match="no directory"):
        fill_promised(store, "3" * 64, promise)


def promised(store: Store, name: str, within: str) -> Promise:
    blob = layer_blob(store, name, Compression.ZSTD)
    return Promise(
        digest=blob.digest,
        size=blob.size,
        diff_id=blob.diff_id,
        media_type=FAMILIES[MediaTypes.OCI].layers[blob.compression],
        within=within,
    )
