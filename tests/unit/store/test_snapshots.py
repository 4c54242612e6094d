"""Snapshots appear complete, last, and count only where they are known to be intact."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline.engine.store.snapshots import Snapshots
from layerline.errors import NoSpace

if TYPE_CHECKING:
    from layerline.engine.store.store import Store


def commit(store: Store, name: str, content: str = "x") -> str:
    """A snapshot with one file."""
    with store.snapshots.draft() as draft:
        (draft.fs / "file").write_text(content)
        (draft.work / "work").mkdir(mode=0)
        return draft.commit(name)


def test_a_commit_makes_the_draft_the_snapshot(store: Store) -> None:
    assert not store.snapshots.has("a")
    assert commit(store, "a") == "a"
    assert store.snapshots.has("a")
    assert (store.snapshots.path("a") / "file").read_text() == "x"
    assert list(store.scratch.iterdir()) == []


def test_the_layer_of_a_draft_is_an_empty_root(store: Store) -> None:
    before = os.umask(0o077)
    try:
        with store.snapshots.draft() as draft:
            info = draft.fs.stat()
    finally:
        os.umask(before)
    assert (info.st_mode & 0o7777, info.st_mtime) == (0o755, 315532800)


def test_a_draft_that_fails_leaves_nothing(store: Store) -> None:
    with pytest.raises(FileNotFoundError), store.snapshots.draft() as draft:
        (draft.fs / "missing" / "file").write_text("x")
    assert list(store.scratch.iterdir()) == []


def test_a_full_disk_says_so(store: Store) -> None:
    with pytest.raises(NoSpace), store.snapshots.draft(), Path("/dev/full").open("w") as file:
        file.write("x" * 100_000)


def test_the_first_of_equal_names_stays(store: Store) -> None:
    commit(store, "a", "first")
    assert commit(store, "a", "second") == "a"
    assert (store.snapshots.path("a") / "file").read_text() == "first"


def test_equal_names_at_the_same_time_leave_one(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: commit(store, "a", str(number)), range(32)))
    assert (store.snapshots.path("a") / "file").read_text() in map(str, range(32))
    assert [path.name for path in (store.root / "snapshots").iterdir()] == ["a"]
    assert list(store.scratch.iterdir()) == []


class Overtaken(type(Path())):  # type: ignore[misc]
    """A directory whose new name is taken, and no longer once the failure is looked into."""

    def rename(self, target: Path) -> Path:
        try:
            return super().rename(target)  # type: ignore[no-any-return]
        except OSError:
            shutil.rmtree(target)
            raise


def test_a_name_that_is_set_aside_at_that_moment_is_tried_again(tmp_path: Path) -> None:
    place, unfinished = tmp_path / "place", Overtaken(tmp_path / "unfinished")
    for each in (place, unfinished):
        (each / "fs").mkdir(parents=True)
    assert not Snapshots._takes(place, unfinished)
    assert Snapshots._takes(place, unfinished)
    unfinished.mkdir()
    with pytest.raises(FileNotFoundError):
        Snapshots._takes(tmp_path / "none/place", unfinished)


@pytest.mark.parametrize("name", ["", "..", ".a", "a/b", "A", "a" * 300, "a\0"])
def test_other_text_names_no_snapshot(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="invalid snapshot name"):
        store.snapshots.has(name)


def test_what_was_settled_counts_after_a_power_cut(store: Store) -> None:
    commit(store, "a")
    store.settle()
    assert after_power_cut(store).has("a")


def test_what_was_not_settled_is_made_again_after_a_power_cut(store: Store) -> None:
    commit(store, "a", "zero bytes, perhaps")
    later = after_power_cut(store)
    (store.snapshots.path("a").parent / "boot").write_text("the boot before the cut")
    assert not later.has("a")
    with later.draft() as draft:
        (draft.fs / "file").write_text("made again")
        draft.commit("a")
    assert later.has("a")
    assert (later.path("a") / "file").read_text() == "made again"
    later.close()


def test_the_boot_mark_cut_off_is_no_mark_of_this_boot(store: Store) -> None:
    commit(store, "a")
    store.settle()
    (store.snapshots.path("a").parent / "boot").write_text("")
    assert not store.snapshots.has("a")


def after_power_cut(store: Store) -> Snapshots:
    """The same snapshots under another boot id."""
    return Snapshots(store.root / "snapshots", store.scratch, "another boot")


def test_syncing_happens_without_being_asked(store: Store) -> None:
    commit(store, "a")
    mark = store.snapshots.path("a").parent / "boot"
    for _ in range(200):
        if not mark.exists():
            return
        os.sched_yield()
        store.snapshots._closed.wait(0.05)
    pytest.fail("the snapshot was not synced within 10 s")
