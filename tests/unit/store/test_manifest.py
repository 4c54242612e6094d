"""Bit rot of any kind in a snapshot is found, and what was computed from it goes with it."""

from __future__ import annotations

import hashlib
import json
import os
import random
import stat
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from layerline.engine.store import manifest
from layerline.engine.store.fsck import find_problems, find_unverified, record, repair
from layerline.engine.store.ingest import ingest
from layerline.engine.store.manifest import DamagedManifest, differences, read_manifest
from layerline.engine.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


def commit(store: Store, name: str, fill: Callable[[Path], None]) -> Path:
    """A snapshot filled by a function; its manifest is written when the session ends."""
    with store.snapshots.draft() as draft:
        fill(draft.fs)
        draft.commit(name)
    return store.root / "snapshots" / name / "fs"


def fill(fs: Path) -> None:
    (fs / "d/e").mkdir(parents=True)
    (fs / "d/file").write_bytes(b"content" * 1000)
    (fs / "d/e/empty").touch()
    (fs / "link").symlink_to("d/file")
    os.mkfifo(fs / "pipe")
    os.setxattr(fs / "d", "user.note", b"kept")
    (fs / os.fsdecode(b"not \xff utf-8\n")).write_text("x")


def flip(path: Path) -> None:
    """Change one bit of a file, which keeps its size and its times, as a bad disk does."""
    info = path.lstat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    mode = stat.S_IMODE(info.st_mode)
    path.chmod(0o600)
    path.write_bytes(data)
    path.chmod(mode)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def rename_link(fs: Path) -> None:
    info = (fs / "link").lstat()
    (fs / "link").unlink()
    (fs / "link").symlink_to("d/FILE")
    os.utime(fs / "link", ns=(0, info.st_mtime_ns), follow_symlinks=False)


def replace_pipe(fs: Path) -> None:
    (fs / "pipe").unlink()
    (fs / "pipe").mkdir()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a bit": (lambda fs: flip(fs / "d/file"), "d/file: content changed"),
    "size": (lambda fs: os.truncate(fs / "d/file", 5), "d/file: size and time and content changed"),
    "mode": (lambda fs: (fs / "d").chmod(0o700), "d: mode changed"),
    "owner": (lambda fs: os.chown(fs / "d/file", 1, -1), "d/file: owner changed"),
    "time": (lambda fs: os.utime(fs / "d/e/empty", (1, 1)), "d/e/empty: time changed"),
    "attribute": (lambda fs: os.setxattr(fs / "d", "user.note", b"KEPT"), "d: attributes changed"),
    "link": (rename_link, "link: content changed"),
    "missing": (lambda fs: (fs / "d/e/empty").unlink(), "d/e/empty: missing"),
    "new": (lambda fs: (fs / "d/e/new").touch(), "d/e/new: not in the manifest"),
    "type": (replace_pipe, "pipe: type"),
    "root": (lambda fs: fs.chmod(0o700), "/: mode changed"),
}


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("kind", DAMAGE)
def test_every_kind_of_damage_is_found(tmp_path: Path, kind: str) -> None:
    with Store.open(tmp_path) as store:
        fs = commit(store, "layer", fill)
    with Store.open(tmp_path) as store:
        assert find_problems(store, deep=True) == []
        damage, text = DAMAGE[kind]
        damage(fs)
        [problem] = find_problems(store, deep=True)
    assert (problem.kind, problem.name) == ("snapshot", "layer")
    assert text in problem.what


def test_all_of_many_flipped_bytes_are_found(tmp_path: Path) -> None:
    def many(fs: Path) -> None:
        for number in range(144):
            (fs / f"f{number}").write_bytes(random.randbytes(1 + number * 50))

    with Store.open(tmp_path) as store:
        fs = commit(store, "layer", many)
    entries = read_manifest(tmp_path / "snapshots/layer" / manifest.NAME)
    assert entries is not None
    for number in range(144):
        flip(fs / f"f{number}")
        assert list(differences(fs, entries)) == [f"f{number}: content changed"]
        flip(fs / f"f{number}")


def test_holes_take_no_time_and_count_as_zeros(tmp_path: Path) -> None:
    def sparse(fs: Path) -> None:
        with (fs / "big").open("wb") as file:
            file.seek(1 << 40)
            file.write(b"end")

    began = time.monotonic()
    with Store.open(tmp_path) as store:
        fs = commit(store, "layer", sparse)
    with Store.open(tmp_path) as store:
        assert find_problems(store, deep=True) == []
        info = (fs / "big").stat()
        with (fs / "big").open("r+b") as file:
            file.write(bytes(5000))  # allocated now, and still zeros
        os.utime(fs / "big", ns=(0, info.st_mtime_ns))
        assert find_problems(store, deep=True) == []
        with (fs / "big").open("r+b") as file:
            file.seek(1 << 30)
            file.write(b"1")
        os.utime(fs / "big", ns=(0, info.st_mtime_ns))
        [problem] = find_problems(store, deep=True)
    assert "big: content changed" in problem.what
    assert time.monotonic() - began < 10


def test_paths_longer_than_any_call_takes_are_verified(tmp_path: Path) -> None:
    def deep(fs: Path) -> None:
        handle = os.open(fs, os.O_RDONLY)
        for _ in range(100):
            os.mkdir("d" * 60, dir_fd=handle)
            below = os.open("d" * 60, os.O_RDONLY, dir_fd=handle)
            os.close(handle)
            handle = below
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
        os.close(handle)

    with Store.open(tmp_path) as store:
        commit(store, "layer", deep)
    with Store.open(tmp_path) as store:
        assert find_unverified(store) == []
        assert find_problems(store, deep=True) == []
        assert store.snapshots.has("layer")


def test_digests_of_an_import_are_the_manifests(tmp_path: Path) -> None:
    source = tmp_path / "source"
    fill(source)
    (source / "pipe").unlink()
    with Store.open(tmp_path / "store") as store:
        name = ingest(store, source).snapshot
    with Store.open(tmp_path / "store") as store:
        assert find_unverified(store) == []
        assert find_problems(store, deep=True) == []
        flip(store.root / "snapshots" / name / "fs/d/file")
        assert [each.name for each in find_problems(store, deep=True)] == [name]


def test_lines_are_json_whatever_the_names_are(tmp_path: Path) -> None:
    names = [
        'quote"',
        "back\\slash",
        "tab\t",
        "line\n",
        "\u2028",
        os.fsdecode(b"\xff"),
        "\U0001f600",
    ]

    def fill_oddly(fs: Path) -> None:
        for name in names:
            (fs / name).write_text(name, errors="surrogateescape")
            os.setxattr(fs / name, "user.odd", b'"\\\xff')
        (fs / "link").symlink_to(names[0])

    with Store.open(tmp_path / "store") as store:
        fs = commit(store, "s", fill_oddly)
    lines = (fs.parent / manifest.NAME).read_bytes().splitlines()[1:-1]
    found = {entry[0]: entry for entry in (json.loads(line.partition(b" ")[2]) for line in lines)}
    assert found.keys() == {"", "link", *names}
    for name in names:
        assert found[name][-2] == hashlib.sha256(os.fsencode(name)).hexdigest()
        assert found[name][-1] == {"user.odd": b'"\\\xff'.hex()}
    assert found["link"][-2] == names[0]


def test_nobody_waits_for_a_thread_of_low_priority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine it gets no processor, and the end of the session waits for manifests."""
    priorities = []
    write = manifest.write_manifest

    def observe(
        fs: Path,
        target: Path,
        *,
        known: Mapping[str, str] | None,
        files: manifest.KnownFiles,
        is_cancelled: Callable[[], bool],
    ) -> None:
        priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        write(fs, target, known=known, files=files, is_cancelled=is_cancelled)

    monkeypatch.setattr(manifest, "write_manifest", observe)
    with Store.open(tmp_path / "store") as store:
        commit(store, "s", fill)
    assert priorities == [os.getpriority(os.PRIO_PROCESS, 0)]


def test_a_file_that_was_read_is_recorded_as_it_was_in_each_layer_that_links_to_it(
    tmp_path: Path,
) -> None:
    """It is read once; so damage in between is found in both layers."""
    with Store.open(tmp_path / "store") as store:
        first = commit(store, "first", fill)
        while not first.with_name("manifest").exists():
            time.sleep(0.01)
        flip(first / "d/file")
        commit(store, "second", lambda fs: (fs / "linked").hardlink_to(first / "d/file"))
    with Store.open(tmp_path / "store") as store:
        found = find_problems(store, deep=True)
    assert sorted(problem.name for problem in found) == ["first", "second"]


def test_a_file_is_known_by_its_size_and_time_until_a_layer_is_removed(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("abc")
    link.hardlink_to(file)
    files = manifest.KnownFiles()
    files.add(file.lstat(), "digest")
    assert files.payload(link.lstat()) == "digest"
    files.forget()
    assert files.payload(link.lstat()) is None
    files.add(file.lstat(), "digest")
    os.utime(file, (1, 1))
    assert files.payload(link.lstat()) is None


def test_a_repair_takes_what_was_computed_from_the_damage_and_nothing_else(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        for name in ("base", "a", "b", "read-a", "other"):
            commit(store, name, fill)
        put = store.index.put
        put("result", "base", {"inputs": [], "made": ["base"]}, snapshots=["base"])
        put("result", "a", {"inputs": ["base"], "made": ["a"]}, snapshots=["a", "base"])
        put("result", "b", {"inputs": ["a"], "made": ["b"]}, snapshots=["a", "b", "base"])
        put(
            "result",
            "read-a",
            {"inputs": ["base", "a"], "made": ["read-a"]},
            snapshots=["base", "read-a"],
        )
        put("result", "other", {"inputs": ["base"], "made": ["other"]}, snapshots=["base", "other"])
        put("packed", "digest of b", {}, snapshots=["b"])
        put("packed", "digest of other", {}, snapshots=["other"])
    with Store.open(tmp_path) as store:
        flip(tmp_path / "snapshots/a/fs/d/file")
        assert repair(store, find_problems(store, deep=True)) == ["b", "read-a"]
        assert sorted(place.name for place in (tmp_path / "snapshots").iterdir()) == [
            "base",
            "other",
        ]
        rows = {row.key for row in store.index.rows()}
        assert rows == {"base", "other", "digest of other"}
        assert find_problems(store, deep=True) == []


def test_rows_of_an_older_store_name_no_inputs(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        for name in ("base", "a", "b", "b-m0"):
            commit(store, name, fill)
        store.index.put("result", "base", {}, snapshots=["base"])
        store.index.put("result", "a", {}, snapshots=["a", "base"])
        store.index.put("result", "b", {}, snapshots=["a", "b", "b-m0", "base"])
    with Store.open(tmp_path) as store:
        flip(tmp_path / "snapshots/a/fs/d/file")
        assert repair(store, find_problems(store, deep=True)) == ["b", "b-m0"]
        assert {row.key for row in store.index.rows()} == {"base"}


def test_an_older_snapshot_is_not_verified_and_is_caught_up_on(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        fs = commit(store, "layer", fill)
    (tmp_path / "snapshots/layer" / manifest.NAME).unlink()
    with Store.open(tmp_path) as store:
        assert find_problems(store, deep=True) == []
        assert find_unverified(store) == ["layer"]
        record(store, ["layer"])
        assert find_unverified(store) == []
    (tmp_path / "snapshots/layer" / manifest.NAME).write_bytes(b"")  # by a power cut
    with Store.open(tmp_path) as store:
        assert find_unverified(store) == ["layer"]
        (tmp_path / "snapshots/layer" / manifest.NAME).unlink()
        assert store.snapshots.has("layer")  # its use has it verified, in the background
        deadline = time.monotonic() + 10
        while find_unverified(store):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        flip(fs / "d/file")
        assert [each.name for each in find_problems(store, deep=True)] == ["layer"]


def test_a_damaged_manifest_is_found(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        commit(store, "layer", fill)
    path = tmp_path / "snapshots/layer" / manifest.NAME
    flip(path)
    with pytest.raises(DamagedManifest):
        read_manifest(path)
    with Store.open(tmp_path) as store:
        [problem] = find_problems(store, deep=True)
        assert "its manifest is damaged" in problem.what
        repair(store, [problem])
        assert find_problems(store, deep=True) == []


def test_an_interrupted_session_does_not_wait_for_manifests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 200

    def large(fs: Path) -> None:
        for number in range(count):
            (fs / f"f{number}").write_bytes(b"x" * 1000)

    def slow(*args: Any, **options: Any) -> Any:  # noqa: ANN401
        read.append(args)
        time.sleep(0.1)
        return digest(*args, **options)

    def interrupted() -> None:
        with Store.open(tmp_path) as store:
            commit(store, "layer", large)
            raise KeyboardInterrupt

    read: list[Any] = []
    digest = manifest._digest
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "_digest", slow)
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    assert len(read) < count
    with Store.open(tmp_path) as store:
        assert find_problems(store) == []


def test_the_first_use_of_a_snapshot_compares_a_sample(tmp_path: Path) -> None:
    def one(fs: Path) -> None:
        (fs / "file").write_bytes(b"content")

    with Store.open(tmp_path) as store:
        fs = commit(store, "layer", one)
        store.index.put("result", "key", {"a": 1}, snapshots=["layer"])
    flip(fs / "file")
    found = 0
    for _ in range(100):  # a busy machine has less time for samples
        with Store.open(tmp_path) as store:
            if store.index.get("result", "key") is None:
                found += 1
                [problem] = find_problems(store)
                assert problem.what == "does not match its manifest: file: content changed"
                break
    assert found == 1
    with Store.open(tmp_path) as store:
        commit(store, "layer", one)  # as the step that runs again does
        assert store.index.get("result", "key") == {"a": 1}
        assert (fs / "file").read_bytes() == b"content"
