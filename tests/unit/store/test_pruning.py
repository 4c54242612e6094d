"""Pruning: the oldest go, limits are kept, what is in use stays, links lead nowhere."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from layerline import command
from layerline.engine.store.fsck import find_problems
from layerline.engine.store.pruning import choose, prune
from layerline.engine.store.store import Store
from layerline.engine.store.usage import Item, list_items, list_volumes
from layerline.errors import StoreBusy, StoreVersion

HOUR = 3600.0
SECONDS_AT_MOST = 60.0
SECONDS_TOGETHER = 3.0
SOURCE = Path(__file__).parents[3] / "src"


def item(name: str, size: int, age: float, kind: str = "blob") -> Item:
    return Item(kind=kind, name=name, place=Path(name), size=size, used=1e6 - age)


@pytest.mark.parametrize(
    ("keep_bytes", "keep_seconds", "gone"),
    [
        (None, None, ["old", "middle", "new"]),
        (60, None, []),
        (59, None, ["old"]),
        (30, None, ["old"]),
        (29, None, ["old", "middle"]),
        (0, None, ["old", "middle", "new"]),
        (None, 25.0, ["old"]),
        (None, 15.0, ["old", "middle"]),
        (0, 25.0, ["old"]),
        (45, 0.0, ["old"]),
    ],
)
def test_what_goes(keep_bytes: int | None, keep_seconds: float | None, gone: list[str]) -> None:
    found = [item("new", 10, 10), item("middle", 20, 20), item("old", 30, 30)]
    found.append(item("cache", 1000, 99, kind="volume"))
    chosen = choose(found, keep_bytes=keep_bytes, keep_seconds=keep_seconds, now=1e6)
    assert [each.name for each in chosen] == gone


def fill_store(root: Path) -> None:
    with Store.open(root) as store:
        for number in range(6):
            store.blobs.put(bytes([number]) * 10_000)
            with store.snapshots.draft() as draft:
                (draft.fs / "file").write_bytes(bytes([number]) * 10_000)
                draft.commit(f"layer-{number}")
            store.index.put("result", str(number), {}, snapshots=[f"layer-{number}"])
        store.volumes.volume("uv-1")


def test_a_dry_run_says_what_the_real_one_does(tmp_path: Path) -> None:
    fill_store(tmp_path / "store")
    planned = prune(tmp_path / "store", keep_bytes=50_000, dry_run=True)
    before = list_items(tmp_path / "store")
    gone = prune(tmp_path / "store", keep_bytes=50_000)
    after = list_items(tmp_path / "store")
    assert {each.name for each in planned} == {each.name for each in gone}
    assert len(before) - len(after) == len(gone) > 0
    assert sum(each.size for each in after if each.kind != "volume") <= 50_000


def test_a_result_whose_layer_went_is_a_miss(tmp_path: Path) -> None:
    fill_store(tmp_path / "store")
    prune(tmp_path / "store", keep_bytes=0)
    with Store.open(tmp_path / "store") as store:
        assert store.index.get("result", "0") is None
        assert [path.name for path in (store.root / "volumes").iterdir()] != []
        assert list((store.root / "snapshots").iterdir()) == []


def test_only_the_named_volume_goes(tmp_path: Path) -> None:
    fill_store(tmp_path / "store")
    with Store.open(tmp_path / "store") as store:
        store.volumes.volume("uv-2")
        wanted = [each.item.name for each in list_volumes(store.root) if each.identity == "uv-2"]
    gone = prune(tmp_path / "store", volumes=wanted)
    assert [each.name for each in gone] == wanted
    assert [each.identity for each in list_volumes(tmp_path / "store")] == ["uv-1"]


def test_a_store_in_use_is_left_alone(tmp_path: Path) -> None:
    fill_store(tmp_path / "store")
    with Store.open(tmp_path / "store"), pytest.raises(StoreBusy, match="in use"):
        prune(tmp_path / "store", keep_bytes=0, timeout=0.1)
    assert prune(tmp_path / "store", keep_bytes=0, timeout=0.1)


def test_recent_things_stay(tmp_path: Path) -> None:
    fill_store(tmp_path / "store")
    old = tmp_path / "store/snapshots/layer-3"
    os.utime(old, (time.time() - 3 * HOUR,) * 2)
    gone = prune(tmp_path / "store", keep_seconds=HOUR)
    assert [each.name for each in gone] == ["layer-3"]


def test_what_was_used_of_late_stays(tmp_path: Path) -> None:
    root = tmp_path / "store"
    fill_store(root)
    for place in [*(root / "snapshots").iterdir(), *(root / "blobs").iterdir()]:
        os.utime(place, (time.time() - 3 * HOUR,) * 2)
    with Store.open(root) as store:
        assert store.index.get("result", "2") is not None
        store.tree(["layer-4"])
        with store.blobs.open(store.blobs.put(bytes([5]) * 10_000).digest) as file:
            file.read(1)
    gone = {each.name for each in prune(root, keep_seconds=HOUR)}
    assert {f"layer-{number}" for number in range(6)} - gone == {"layer-2", "layer-4"}
    assert len(list((root / "blobs").iterdir())) == 1


def test_rows_that_stand_on_nothing_go_too(tmp_path: Path) -> None:
    root = tmp_path / "store"
    fill_store(root)
    with Store.open(root) as store:
        store.index.put("value", "free", {})
    prune(root, keep_bytes=0)
    with contextlib.closing(sqlite3.connect(root / "index.db")) as database:
        assert database.execute("SELECT key FROM rows").fetchall() == [(b"free",)]


def test_builders_and_a_loop_of_pruning_never_hurt_each_other(tmp_path: Path) -> None:
    root = tmp_path / "store"
    begun = time.monotonic()

    def goes_on(done: int) -> bool:
        """A while, and on a slow disk for as long as nothing has been done yet."""
        lasted = time.monotonic() - begun
        return lasted < SECONDS_TOGETHER or (done == 0 and lasted < SECONDS_AT_MOST)

    def build(worker: int) -> int:
        built = 0
        while goes_on(built):
            with Store.open(root) as store:
                name = f"layer-{worker}-{built % 5}"
                if store.index.get("result", name) is None:
                    with store.snapshots.draft() as draft:
                        (draft.fs / "file").write_text(name)
                        draft.commit(name)
                    store.index.put("result", name, {}, snapshots=[name])
                assert store.tree([name]).read("/file") == name.encode()
            built += 1
        return built

    def prune_again_and_again() -> int:
        pruned = 0
        while goes_on(pruned):
            with contextlib.suppress(StoreBusy):
                prune(root, keep_bytes=0, timeout=0.2)
                pruned += 1
        return pruned

    with ThreadPoolExecutor() as pool:
        pruning = pool.submit(prune_again_and_again)
        built = [pool.submit(build, worker) for worker in range(2)]
        assert all(each.result() > 0 for each in built)
        assert pruning.result() > 0


def test_a_directory_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo").write_text("mine")
    with pytest.raises(StoreVersion):
        prune(tmp_path, keep_bytes=0)
    assert (tmp_path / "photo").exists()


def test_links_in_the_store_lead_nowhere(tmp_path: Path) -> None:
    fill_store(tmp_path / "store")
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("mine")
    for where in ("blobs", "snapshots", "volumes", "snapshots/layer-1/fs"):
        (tmp_path / "store" / where / "link").symlink_to(victim)
    prune(tmp_path / "store", keep_bytes=0)
    assert (victim / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("call", "when"),
    [*(("rename", when) for when in (1, 2, 6)), *(("unlinkat", when) for when in (1, 3, 7, 11))],
)
def test_a_kill_half_way_leaves_an_intact_store_and_the_next_run_finishes(
    tmp_path: Path, call: str, when: int
) -> None:
    strace = command.find("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    fill_store(tmp_path / "store")
    script = (
        "import sys; from pathlib import Path; from layerline.engine.store.pruning import prune; "
        "prune(Path(sys.argv[1]), keep_bytes=0)"
    )
    argv: list[str | Path] = [
        strace,
        "-f",
        "-o",
        "/dev/null",
        "-e",
        f"inject={call}:signal=KILL:when={when}",
    ]
    env = {"PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"}
    words: list[str | Path] = [*argv, sys.executable, "-c", script, str(tmp_path / "store")]
    assert command.run(words, env=env, expect=None).status != 0
    with Store.open(tmp_path / "store") as store:
        assert find_problems(store, deep=True) == []
    prune(tmp_path / "store", keep_bytes=0)
    assert [item.kind for item in list_items(tmp_path / "store")] == ["volume"]
    assert [path for path in (tmp_path / "store/scratch").iterdir() if path.is_dir()] == []
