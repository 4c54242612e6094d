"""Automatic pruning: what was used longest ago goes, between sessions, and volumes never."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from layerline.engine.store import auto_pruning
from layerline.engine.store.auto_pruning import estimated_size, prunable_size, prune_automatically
from layerline.engine.store.store import Store
from layerline.engine.store.usage import list_items
from layerline.storage import Amount, Storage

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3600.0
SIZE = 100_000
NO_FLOOR = Amount(bytes=0)


def storage(keep: int | None) -> Storage:
    kept = None if keep is None else Amount(bytes=keep)
    return Storage(keep=kept, min_free=NO_FLOOR, reserved=NO_FLOOR)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with six layers of SIZE, used one hour after the other, and a volume."""
    with Store.open(tmp_path / "store") as store:
        for number in range(6):
            with store.snapshots.draft() as draft:
                (draft.fs / "file").write_bytes(os.urandom(SIZE))
                draft.commit(f"layer-{number}")
            store.index.put("result", str(number), {}, snapshots=[f"layer-{number}"])
        (store.volumes.volume("pip") / "wheel").write_bytes(bytes(10 * SIZE))
    for number in range(6):
        used = time.time() - (10 - number) * HOUR
        os.utime(tmp_path / f"store/snapshots/layer-{number}", (used, used))
    return tmp_path / "store"


def layers(root: Path) -> list[str]:
    return sorted(place.name for place in (root / "snapshots").iterdir())


def test_the_least_recently_used_go_first_and_volumes_stay(root: Path) -> None:
    pruned = prune_automatically(root, storage(3 * SIZE + 50_000), since=time.time())
    assert pruned is not None
    assert [item.name for item in pruned.items] == ["layer-0", "layer-1", "layer-2"]
    assert pruned.first
    assert layers(root) == ["layer-3", "layer-4", "layer-5"]
    with Store.open(root) as store:
        assert (store.volumes.volume("pip") / "wheel").exists()
        assert [row.key for row in store.index.rows()] == ["3", "4", "5"]
    again = prune_automatically(root, storage(SIZE + 50_000), since=time.time())
    assert again is not None
    assert not again.first


def test_what_the_session_used_stays(root: Path) -> None:
    began = time.time()
    with Store.open(root) as store:
        assert store.index.get("result", "0") is not None
    pruned = prune_automatically(root, storage(0), since=began)
    assert pruned is not None
    assert layers(root) == ["layer-0"]


def test_nothing_goes_while_a_session_is_open_or_when_it_is_off(root: Path) -> None:
    with Store.open(root):
        assert prune_automatically(root, storage(0), since=time.time()) is None
    assert prune_automatically(root, storage(None), since=time.time()) is None
    assert len(layers(root)) == 6


def test_the_disk_is_kept_free(root: Path) -> None:
    disk = os.statvfs(root)
    free = Amount(bytes=disk.f_bavail * disk.f_frsize + (1 << 40))
    kept = Storage(min_free=free, reserved=Amount(bytes=2 * SIZE + 50_000))
    assert prune_automatically(root, kept, since=time.time()) is not None
    assert layers(root) == ["layer-4", "layer-5"]


def test_a_store_below_its_limit_is_not_walked(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = sum(item.size for item in list_items(root) if item.kind == "snapshot")
    assert 0.9 < estimated_size(root) / exact < 1.1
    assert prunable_size(list_items(root), root, storage(exact)) == 0
    assert prunable_size(list_items(root), root, storage(exact - 1)) > SIZE

    def walk(*_: object, **__: object) -> list[object]:
        raise AssertionError

    monkeypatch.setattr(auto_pruning, "prune_selected", walk)
    assert prune_automatically(root, storage(2 * exact), since=time.time()) is None
