"""Refs and files of repositories; settings and hooks of untrusted ones are ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerline.engine.sources.git import (
    Ref,
    Refs,
    Remote,
    checkout,
    extract,
    list_refs,
    merge_base,
)
from layerline.engine.store.store import Store
from layerline.engine.store.tree import Tree
from layerline.engine.trees import git_program
from layerline.engine.trees.tree_diff import TreeDirectory
from layerline.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ONE, TWO = "1" * 40, "2" * 40


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A repository of two commits, a branch `side` and an annotated tag at the first."""
    place = tmp_path / "work"
    place.mkdir()
    git_program.run(["init", "--quiet"], cwd=place)
    for text in ("first", "second"):
        (place / "README").write_text(text)
        git_program.run(["add", "."], cwd=place)
        git_program.run(["commit", "--quiet", "-m", text], cwd=place)
    git_program.run(["branch", "side", "HEAD~1"], cwd=place)
    git_program.run(["tag", "-a", "v1.2", "-m", "x", "HEAD~1"], cwd=place)
    return place


def test_names_are_looked_up_as_git_does() -> None:
    commits = {"HEAD": TWO, "refs/heads/x": ONE, "refs/tags/x": TWO, "refs/pull/1": TWO}
    refs = Refs(commits=commits, head="refs/heads/x")
    assert refs.lookup("x") == Ref("refs/heads/x", ONE)
    assert refs.lookup("refs/tags/x") == Ref("refs/tags/x", TWO)
    assert refs.lookup("pull/1") == Ref("refs/pull/1", TWO)
    assert refs.lookup("HEAD") == Ref("refs/heads/x", TWO)
    assert refs.lookup(ONE) == Ref("", ONE)
    with pytest.raises(QueryError, match='does not contain ref "nope"'):
        refs.lookup("nope")


def test_the_latest_version_is_the_highest_not_the_last() -> None:
    tags = ["v1.9.0", "v1.10.0-rc.2", "v1.10.0-rc.10", "v1.10.0", "vx", "v1.10.0-alpha"]
    refs = Refs(commits={f"refs/tags/{tag}": ONE for tag in tags}, head=None)
    assert refs.latest_version().name == "refs/tags/v1.10.0"
    some = Refs(commits={f"refs/tags/{tag}": ONE for tag in tags[1:3]}, head=None)
    assert some.latest_version().name == "refs/tags/v1.10.0-rc.10"


def test_tags_are_peeled(store: Store, work: Path) -> None:
    refs = list_refs(store, Remote(address=str(work)))
    assert refs.lookup("v1.2").commit == refs.lookup("side").commit
    assert refs.head == "refs/heads/main"


def test_a_checkout_is_the_same_every_time(store: Store, work: Path, tmp_path: Path) -> None:
    remote = Remote(address=str(work))
    ref = list_refs(store, remote).lookup("side")
    looks = []
    for name in ("a", "b"):
        target = tmp_path / name
        target.mkdir()
        checkout(remote, ref, target, depth=1, tags=False, keep=False)
        info = (target / "README").stat()
        looks.append((info.st_mode, info.st_mtime, (target / "README").read_text()))
        assert [path.name for path in target.iterdir()] == ["README"]
    assert looks[0] == looks[1]
    assert looks[0][2] == "first"


def test_the_common_ancestor_is_found(store: Store, work: Path) -> None:
    remote = Remote(address=str(work))
    refs = list_refs(store, remote)
    sides = [(remote, refs.lookup(name)) for name in ("main", "side")]
    assert merge_base(store, sides[0], sides[1]) == refs.lookup("side").commit


def test_settings_hooks_and_links_do_not_come_along(
    store: Store, work: Path, tmp_path: Path
) -> None:
    inner = work / ".git"
    (inner / "hooks").mkdir(exist_ok=True)
    (inner / "hooks" / "post-checkout").write_text("#!/bin/sh\n")
    (inner / "objects" / "info" / "alternates").write_text("/elsewhere\n")
    (inner / "refs" / "leak").symlink_to("/etc/passwd")
    with (inner / "config").open("a") as config:
        config.write("[core]\n\tsshCommand = touch /nowhere\n")
    target = tmp_path / "extracted"
    extract(store, TreeDirectory(Tree((work,)), "/"), target)
    assert "sshCommand" not in (target / "config").read_text()
    assert not (target / "hooks").exists()
    assert not (target / "objects" / "info" / "alternates").exists()
    assert not (target / "refs" / "leak").is_symlink()
    assert list_refs(store, Remote(address=str(target))).head == "refs/heads/main"


def test_a_directory_without_a_repository_is_said_to_be_none(store: Store, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="not a git repository"):
        extract(store, TreeDirectory(store.tree(()), "/"), tmp_path / "x")
