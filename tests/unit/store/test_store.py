"""The store opens whatever happened to it, and refuses what is not its own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from layerline import command
from layerline.engine.store.format import FORMAT
from layerline.engine.store.store import Store
from layerline.engine.store.writer import Writer
from layerline.errors import StoreVersion
from layerline.settings import python

SOURCE = Path(__file__).parents[3] / "src"
STAYING = """
import sys, time
from pathlib import Path
from layerline.engine.store.store import Store
with Store.open(Path(sys.argv[1])) as store:
    (store.scratch / "kept").write_text("x")
    print(store.scratch, flush=True)
    time.sleep(60)
"""


def test_a_new_store_is_for_its_owner_only(tmp_path: Path) -> None:
    with Store.open(tmp_path / "deep" / "store") as store:
        assert store.root.stat().st_mode & 0o777 == 0o700
        assert (store.root / "version").read_text() == FORMAT


@pytest.mark.parametrize("version", ["layerline store 2\n", "", "something else"])
def test_another_version_is_refused_and_not_touched(tmp_path: Path, version: str) -> None:
    (tmp_path / "version").write_text(version)
    (tmp_path / "index.db").write_text("future")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(StoreVersion, match="LAYERLINE_STORE"), Store.open(tmp_path):
        pass
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_directory_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StoreVersion, match="not empty"), Store.open(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_store_that_was_half_made_is_finished(tmp_path: Path) -> None:
    (tmp_path / "version.1234").write_text("layer")
    with Store.open(tmp_path) as store:
        assert store.blobs.put(b"x").size == 1


def test_nothing_at_all_is_an_empty_tree(store: Store) -> None:
    assert store.tree([]).scan("/") == []
    assert store.tree([]).lookup("/").mode == 0o755


def test_the_session_directory_goes_with_the_session(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        (store.scratch / "file").write_text("x")
    assert list((tmp_path / "store" / "scratch").iterdir()) == []


def test_dead_sessions_are_swept_and_living_ones_are_not(tmp_path: Path) -> None:
    with Store.open(tmp_path) as own:
        (own.scratch / "own").write_text("x")
        env = {"PYTHONPATH": str(SOURCE)}
        other = command.start([python(), "-c", STAYING, tmp_path], env=env, stdout=command.PIPE)
        assert other.stdout is not None
        with other.stdout as lines:
            scratch = Path(os.fsdecode(lines.readline().strip()))
            with Store.open(tmp_path):
                assert (scratch / "kept").exists()
            other.kill()
            other.wait()
        assert scratch.exists()
        with Store.open(tmp_path):
            assert not scratch.exists()
        assert (own.scratch / "own").exists()


def test_a_lost_index_loses_no_blobs_volumes_and_snapshots(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        blob = store.blobs.put(b"bytes")
        (store.volumes.volume("pip") / "wheel").write_text("x")
        with store.snapshots.draft() as draft:
            Writer(store.tree([]), draft.fs).write("f", b"x")
            draft.commit("a")
        store.index.put("result", "k", {"a": 1}, snapshots=["a"])
    (tmp_path / "index.db").write_bytes(b"rotten" * 1000)
    with Store.open(tmp_path) as store:
        assert store.index.get("result", "k") is None
        assert store.blobs.read(blob.digest) == b"bytes"
        assert (store.volumes.volume("pip") / "wheel").exists()
        assert store.tree(["a"]).read("f") == b"x"


def test_a_result_without_its_snapshot_is_a_miss(store: Store) -> None:
    store.index.put("result", "k", {"a": 1}, snapshots=["gone"])
    assert store.index.get("result", "k") is None


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_any_step_everything_acknowledged_is_there(tmp_path: Path, step: int) -> None:
    worker = Path(__file__).with_name("crash_worker.py")
    env = {"PYTHONPATH": str(SOURCE)}
    done = command.run([python(), worker, tmp_path, str(step)], env=env, timeout=300)
    report = json.loads(done.stdout)
    assert report["faults"] == []
    assert report["trials"] > 80 // step, "killed at too few points: the test is blind"
    assert report["acknowledged"] > report["trials"] // 2
