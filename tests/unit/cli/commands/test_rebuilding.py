"""The source that an image is built again from: a checkout or a commit, with the attached lock."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.cli.commands.rebuilding import Recipe, workplace
from layerline.cli.console import Console
from layerline.cli.options import Options
from layerline.errors import NotVerified, UsageError
from layerline.settings import Settings, process_environ

if TYPE_CHECKING:
    from pathlib import Path

DEFINITION = '[targets.cpu]\n[targets.gpu]\nlock = "uv.lock"\n'
OLD, NEW = "numpy==1\n", b"numpy==2\n"
RECIPE = Recipe(
    image="api",
    target="cpu",
    compression="zstd",
    base="docker.io/library/debian:bookworm-slim",
    commit="",
    repository="",
    digests={},
    lock=("locks/cpu.txt", NEW),
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A repository with one commit, whose lock is an old one."""
    place = tmp_path / "source"
    (place / "locks").mkdir(parents=True)
    (place / "layerline.toml").write_text(DEFINITION)
    (place / "locks" / "cpu.txt").write_text(OLD)
    git(place, "init", "--quiet")
    git(place, "add", ".")
    author = ("-c", "user.name=me", "-c", "user.email=me@example.com")
    git(place, *author, "commit", "--quiet", "--message=first")
    return place


def git(place: Path, *words: str) -> str:
    return command.run(["git", "-C", place, *words], env=process_environ()).stdout.decode().strip()


def console(workdir: Path) -> Console:
    environ = {**process_environ(), "HOME": str(workdir)}
    settings = Settings.from_environ(environ)
    made = Console(program="layerline", argv=[], options=Options.scan([]), settings=settings)
    made.options = replace(made.options, workdir=str(workdir))
    return made


def lock_in(place: Path) -> bytes:
    return (place / "locks" / "cpu.txt").read_bytes()


def test_a_checkout_gets_the_attached_lock_in_a_copy(source: Path) -> None:
    with workplace(console(source), RECIPE, source) as (place, _):
        assert lock_in(place) == NEW
        assert not (place / ".git").exists()
    assert lock_in(source) == OLD.encode()


def test_a_checkout_that_has_the_lock_is_used_as_it_is(source: Path) -> None:
    same = replace(RECIPE, lock=("locks/cpu.txt", OLD.encode()))
    for recipe in (same, replace(RECIPE, lock=None)):
        with workplace(console(source), recipe, source) as (place, _):
            assert place == source


def test_a_lock_of_two_files_is_that_of_the_source(source: Path) -> None:
    merged = replace(RECIPE, target="gpu", lock=("locks/gpu.txt", NEW))
    with workplace(console(source), merged, source) as (place, _):
        assert place == source


def test_the_commit_is_taken_from_the_repository_around(source: Path) -> None:
    commit = git(source, "rev-parse", "HEAD")
    (source / "layerline.toml").write_text("changed since\n")
    (source / "below").mkdir()
    named = replace(RECIPE, commit=commit)
    with workplace(console(source / "below"), named, None) as (place, _):
        assert (place / "layerline.toml").read_text() == DEFINITION
        assert lock_in(place) == NEW


@pytest.mark.parametrize(
    ("commit", "repository", "error", "said"),
    [
        ("", "", UsageError, "names no commit: give the source with --source=DIR"),
        ("--upload-pack=x", "", NotVerified, "an invalid commit '--upload-pack=x'"),
        ("1" * 40, "", UsageError, "is not in this repository"),
        ("1" * 40, "ext::sh -c id", UsageError, "is not in this repository"),
    ],
)
def test_what_names_no_source_is_refused(
    source: Path, commit: str, repository: str, error: type[Exception], said: str
) -> None:
    recipe = replace(RECIPE, commit=commit, repository=repository)
    with pytest.raises(error, match=said), workplace(console(source), recipe, None):
        pass
