"""Generated repositories: only the marked block changes, and nothing that is copied gets lost."""

from __future__ import annotations

import hashlib
import os
import random
import re
from typing import TYPE_CHECKING

import pytest

from layerline.doctor import main
from layerline.doctor.build_context import Excluded, IgnoreFile
from layerline.doctor.subject import Subject
from tests.unit.doctor.test_edits import contents

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("src", "data", "outputs", "docs", "a.pt", "b.csv", ".env", "run.log", "x.ipynb", "models")
BLOCK = re.compile(rb"# >>> layerline doctor >>>.*# <<< layerline doctor <<<\r?\n", re.DOTALL)
FLAGS = ("--check", "ignore-file")


def make(seed: int, root: Path) -> None:
    """A tree, one or two Dockerfiles that copy parts of it, and perhaps an ignore file."""
    chance = random.Random(seed)
    folders = [root]
    for _ in range(chance.randrange(4, 25)):
        path = chance.choice(folders) / chance.choice(NAMES)
        if path.exists():
            continue
        if "." not in path.name:
            path.mkdir()
            folders.append(path)
        else:
            path.write_text(path.name)
    there = [str(path.relative_to(root)) for path in root.rglob("*")]
    copies = "".join(f"COPY {name} /w/\n" for name in chance.sample(there, min(3, len(there))))
    (root / "Dockerfile").write_text(f"FROM x\n{copies}COPY . .\n")
    if chance.random() < 0.3:
        (root / "Dockerfile.gpu").write_text(f"FROM y\n{copies}")
    data = contents(seed)
    if data is not None:
        (root / ".dockerignore").write_bytes(data)


def state(root: Path) -> dict[str, tuple[int, str]]:
    """Mode and digest of every path."""
    found = {}
    for path in sorted([root, *root.rglob("*")]):
        data = path.read_bytes() if path.is_file() else b""
        mode = path.stat().st_mode
        found[str(path.relative_to(root))] = (mode, hashlib.sha256(data).hexdigest())
    return found


@pytest.mark.parametrize("seed", range(100))
def test_fix_and_undo_leave_a_repository_as_it_was(tmp_path: Path, seed: int) -> None:
    make(seed, tmp_path)
    environ = {"HOME": str(tmp_path)}
    ignore = tmp_path / ".dockerignore"

    def run_doctor(*argv: str) -> None:
        assert main.run_doctor(["--project", str(tmp_path), *FLAGS, *argv], environ) == 0

    before = state(tmp_path)
    old = ignore.read_bytes() if ignore.exists() else b""
    run_doctor("--fix", "ignore-file", "--dry-run")
    assert state(tmp_path) == before
    run_doctor("--fix", "ignore-file")
    fixed = state(tmp_path)
    assert {path for path in fixed if fixed[path] != before.get(path)} == {".dockerignore"}
    assert BLOCK.sub(b"", ignore.read_bytes()) == old
    inode = ignore.stat().st_ino
    run_doctor("--fix", "ignore-file")
    assert (state(tmp_path), ignore.stat().st_ino) == (fixed, inode)
    run_doctor("--undo")
    assert state(tmp_path) == before


@pytest.mark.parametrize("seed", range(100))
def test_a_fix_excludes_nothing_that_a_dockerfile_names(tmp_path: Path, seed: int) -> None:
    make(seed, tmp_path)
    before = Excluded(IgnoreFile.of(tmp_path).patterns)
    main.run_doctor(["--project", str(tmp_path), *FLAGS, "--fix", "ignore-file"], {"HOME": "/"})
    after = Excluded(IgnoreFile.of(tmp_path).patterns)
    named = [
        s for each in Subject.of(tmp_path, {}).dockerfiles for _, s in each.sources if s != "."
    ]
    lost = [source for source in named if after.excludes(source) and not before.excludes(source)]
    assert lost == []


def test_the_repositories_are_not_all_alike(tmp_path: Path) -> None:
    kinds = set()
    for seed in range(30):
        root = tmp_path / str(seed)
        root.mkdir()
        make(seed, root)
        kinds.add((os.path.lexists(root / ".dockerignore"), len(list(root.rglob("*"))) > 10))
    assert len(kinds) == 4
