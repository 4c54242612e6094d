"""Damage is found, reported, and repaired without touching intact items."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from layerline.engine.store.fsck import find_problems, repair
from layerline.engine.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        opened.blobs.put(b"intact")
        with opened.snapshots.draft() as draft:
            (draft.fs / "file").write_text("x")
            draft.commit("layer")
        opened.snapshots.settle()
        opened.index.put("result", "key", {"a": 1}, snapshots=["layer"])
        opened.volumes.volume("uv-1")
        yield opened


def problem_kinds(store: Store, *, deep: bool = False) -> list[str]:
    return [problem.kind for problem in find_problems(store, deep=deep)]


def test_a_healthy_store_gives_nothing(store: Store) -> None:
    assert problem_kinds(store, deep=True) == []


def test_a_changed_byte_of_a_blob_is_found_by_reading_it(store: Store) -> None:
    blob = store.blobs.put(b"bytes")
    store.blobs.path(blob.digest).chmod(0o600)
    store.blobs.path(blob.digest).write_bytes(b"bytEs")
    assert problem_kinds(store) == []
    problems = find_problems(store, deep=True)
    assert [problem.kind for problem in problems] == ["blob"]
    repair(store, problems)
    assert problem_kinds(store, deep=True) == []
    assert not store.blobs.has(blob.digest)


def test_a_layer_of_another_boot_is_found(store: Store) -> None:
    (store.root / "snapshots/layer/boot").write_text("another boot")
    assert problem_kinds(store) == ["snapshot"]


def test_rows_that_were_changed_are_found_and_dropped(store: Store) -> None:
    with sqlite3.connect(store.root / "index.db") as database:
        database.execute("UPDATE rows SET document = ?", (b'{"a":2}',))
    database.close()
    problems = find_problems(store)
    assert [problem.kind for problem in problems] == ["index"]
    repair(store, problems)
    assert problem_kinds(store) == []


def test_a_damaged_index_that_was_set_aside_is_reported(tmp_path: Path, store: Store) -> None:
    store.index.close()
    (store.root / "index.db").write_bytes(b"no database at all" * 1000)
    for suffix in ("-wal", "-shm"):
        (store.root / f"index.db{suffix}").unlink(missing_ok=True)
    with Store.open(tmp_path / "store") as again:
        again.index.get("result", "key")
        assert "index" in problem_kinds(again)


@pytest.mark.parametrize("damage", ["identity.json", "data"])
def test_a_volume_that_lost_a_part_is_reported_but_never_removed(store: Store, damage: str) -> None:
    [place] = (store.root / "volumes").iterdir()
    (place / damage).rename(place / "elsewhere")
    problems = find_problems(store)
    assert [problem.kind for problem in problems] == ["volume"]
    repair(store, problems)
    assert place.is_dir()
