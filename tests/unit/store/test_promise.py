"""A promised snapshot counts as complete while its blob can be had; reading it fetches files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from layerline.engine.store.digest import Digest, digest_bytes
from layerline.engine.store.fsck import find_problems
from layerline.engine.store.promise import PROMISE, Promise, read_promise
from layerline.engine.store.pruning import prune
from layerline.engine.store.store import Store
from layerline.engine.store.usage import list_items
from layerline.errors import NotFetched

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DATA = b"the bytes of a layer"
DIGEST = digest_bytes(DATA)
PROMISED = Promise(digest=DIGEST, size=len(DATA), diff_id=DIGEST, media_type="text/plain")


@dataclass
class Supply:
    """Has one blob, until it is lost, and makes a file of it."""

    store: Store
    is_lost: bool = False
    supplied: list[str] = field(default_factory=list)

    def has(self, digest: Digest) -> bool:
        return digest == DIGEST and not self.is_lost

    def fetch(self, digest: Digest) -> None:
        if self.is_lost:
            raise NotFetched(digest)
        self.store.blobs.put(DATA)

    def supply(self, wanted: Sequence[tuple[str, Promise]]) -> None:
        for name, promise in wanted:
            self.fetch(promise.digest)
            with self.store.snapshots.draft() as draft:
                (draft.fs / "file").write_bytes(DATA)
                draft.commit(name)
            self.supplied.append(name)


def test_files_come_when_the_path_is_asked(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        store.supply(supply := Supply(store))
        store.snapshots.promise("one", PROMISED)
        store.index.put("result", "key", {"a": 1}, snapshots=["one"])
        assert store.snapshots.has("one")
        assert not store.snapshots.is_here("one")
        assert store.index.get("result", "key") == {"a": 1}
        assert supply.supplied == []
        assert store.tree(["one"]).read("/file") == DATA
        assert supply.supplied == ["one"]
        assert store.snapshots.promised("one") is None


def test_a_promise_holds_in_the_next_session_only_with_a_supplier(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        store.supply(Supply(store))
        store.snapshots.promise("one", PROMISED)
        store.index.put("result", "key", {}, snapshots=["one"])
    with Store.open(tmp_path / "store") as store:
        assert not store.snapshots.has("one")
        assert store.index.get("result", "key") is None
        store.supply(supply := Supply(store))
        assert store.index.get("result", "key") == {}
        supply.is_lost = True
        assert store.index.get("result", "key") is None


def test_what_is_made_here_takes_the_place_of_a_promise(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        store.supply(Supply(store))
        store.snapshots.promise("one", PROMISED)
        with store.snapshots.draft() as draft:
            (draft.fs / "own").touch()
            draft.commit("one")
        assert store.tree(["one"]).find("/own") is not None
        store.snapshots.promise("one", PROMISED)  # it exists already
        assert store.snapshots.is_here("one")


def test_a_missing_blob_is_fetched_once_it_is_read(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        assert not store.blobs.is_available(DIGEST)
        store.supply(supply := Supply(store))
        assert store.blobs.is_available(DIGEST)
        assert not store.blobs.has(DIGEST)
        assert store.blobs.read(DIGEST) == DATA
        supply.is_lost = True
        assert store.blobs.read(DIGEST) == DATA


def test_check_df_and_prune_know_promises(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with Store.open(root) as store:
        store.supply(Supply(store))
        store.snapshots.promise("one", PROMISED)
        store.index.put("result", "key", {}, snapshots=["one"])
        assert find_problems(store, deep=True) == []
    assert [item.name for item in list_items(root)] == ["one"]
    assert [item.name for item in prune(root, keep_bytes=0)] == ["one"]
    with Store.open(root) as store:
        store.supply(Supply(store))
        assert store.index.get("result", "key") is None
        assert not store.snapshots.has("one")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"digest": "x"}', "not JSON"])
def test_a_damaged_promise_counts_as_absent(tmp_path: Path, text: str) -> None:
    with Store.open(tmp_path / "store") as store:
        store.supply(Supply(store))
        store.snapshots.promise("one", PROMISED)
        place = tmp_path / "store/snapshots/one"
        (place / PROMISE).write_text(text)
        assert read_promise(place) is None
        assert not store.snapshots.has("one")
        [problem] = find_problems(store)
        assert problem.what == "has no files"
