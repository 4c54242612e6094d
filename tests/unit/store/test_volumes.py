"""Volumes are found again by their identity, which is never a path."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from layerline.engine.store.store import Store
from layerline.errors import StoreBusy

if TYPE_CHECKING:
    from pathlib import Path


def test_a_volume_keeps_what_is_in_it(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        (store.volumes.volume("pip") / "wheel").write_text("x")
    with Store.open(tmp_path) as store:
        assert (store.volumes.volume("pip") / "wheel").read_text() == "x"
        assert list(store.volumes.volume("other").iterdir()) == []


@pytest.mark.parametrize(
    "identity",
    ["../../x", "/etc", "", "x" * 4096, "a\nb", "a\0b", ".", "..", "é", "e\u0301", "PIP"],
)
def test_an_identity_is_data_and_no_path(store: Store, identity: str) -> None:
    before = sorted(path.name for path in store.root.iterdir())
    place = store.volumes.volume(identity)
    assert place.parent.parent == store.root / "volumes"
    assert len(place.parent.name) == 64
    assert place != store.volumes.volume("pip")
    assert sorted(path.name for path in store.root.iterdir()) == before


def test_a_seed_is_used_once_and_completely(store: Store) -> None:
    def fill(place: Path) -> None:
        (place / "seeded").write_text("x")

    def failing(place: Path) -> None:
        (place / "half").write_text("x")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.volumes.volume("v", seed=failing)
    place = store.volumes.volume("v", seed=fill)
    assert [path.name for path in place.iterdir()] == ["seeded"]
    (place / "seeded").unlink()
    assert list(store.volumes.volume("v", seed=fill).iterdir()) == []
    assert list(store.scratch.iterdir()) == []


def test_a_volume_is_made_once_by_many(store: Store) -> None:
    seeded: list[Path] = []
    with ThreadPoolExecutor(8) as pool:
        places = list(pool.map(lambda _: store.volumes.volume("v", seed=seeded.append), range(16)))
    assert len(set(places)) == 1
    assert len(seeded) == 1


def test_the_lock_is_not_in_the_volume(store: Store) -> None:
    place = store.volumes.volume("v")
    with store.volumes.lock("v"):
        assert list(place.iterdir()) == []
        with pytest.raises(StoreBusy):
            store.volumes.lock("v", timeout=0.05).__enter__()
        with store.volumes.lock("w", timeout=0.05):
            pass


def test_the_mode_and_owner_of_a_new_volume(store: Store, root: None) -> None:  # noqa: ARG001
    place = store.volumes.volume("v", owner=(12, 34), mode=0o1777)
    info = place.stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (12, 34, 0o1777)
