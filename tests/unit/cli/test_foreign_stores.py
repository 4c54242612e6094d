"""A directory that is not a store of this version is refused, and nothing in it changes."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from layerline import command

SOURCE = Path(__file__).parents[3] / "src"
COMMANDS = [
    ("core", "container", "sync"),
    ("functions", "-m", str(Path(__file__).parents[3])),
    ("query", "--doc=/dev/null"),
    ("run", "true"),
    ("session",),
    ("store", "df"),
    ("store", "check", "--deep", "--repair"),
    ("store", "prune", "--keep-storage=0"),
    ("store", "prune", "--keep-storage=0", "--dry-run"),
    ("store", "volumes"),
    ("store", "volume", "export", "pip"),
]


def state_of(root: Path) -> dict[str, tuple[int, int, str]]:
    """The mode, time and content of everything in a tree."""
    found = {}
    for path in (root, *sorted(root.rglob("*"))):
        content = "" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path)] = (path.stat().st_mode, path.stat().st_mtime_ns, content)
    return found


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("version", [None, "layerline store 2\n"])
def test_nothing_changes(tmp_path: Path, version: str | None, words: tuple[str, ...]) -> None:
    root = tmp_path / "foreign"
    (root / "blobs").mkdir(parents=True)
    (root / "thesis.tex").write_text("mine")
    if version is not None:
        (root / "version").write_text(version)
    root.chmod(0o750)
    before = state_of(root)
    env = {"HOME": str(tmp_path), "LAYERLINE_STORE": str(root), "PYTHONPATH": str(SOURCE)}
    argv = [sys.executable, "-m", "layerline", *words]
    done = command.run(argv, env=env, cwd=tmp_path, expect=None)
    assert done.status == 1
    refused = b"unsupported store version" if version else b"is not a Layerline store"
    assert refused in done.stderr, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Full log" not in done.stderr
    assert state_of(root) == before


@pytest.mark.usefixtures("root")
def test_a_store_below_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = tmp_path / "file/store"
    env = {"HOME": str(tmp_path), "LAYERLINE_STORE": str(store), "PYTHONPATH": str(SOURCE)}
    for words in COMMANDS:
        argv = [sys.executable, "-m", "layerline", *words]
        done = command.run(argv, env=env, cwd=tmp_path, expect=None)
        assert done.status == 1, words
        assert b": not a directory: set LAYERLINE_STORE" in done.stderr, done.stderr
        assert b"Traceback" not in done.stderr
