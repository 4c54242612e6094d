"""Ignored data is not read for the shipped pipeline, unless layerline.toml names it."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.engine.module.arguments import Reader, complete
from layerline.engine.module.definitions import Function, FunctionArg, TypeDef
from layerline.engine.module.source import find_module
from layerline.engine.module.unread_files import unread_patterns
from layerline.engine.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

LARGE = (1 << 20) + 1


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in a directory of a repository, with a tracked file among the ignored ones."""
    home = tmp_path / "repository" / "project"
    for path in ("data/train/x", "wandb/run/x", "venv/bin/python", "src/a.py", "runs/kept/x"):
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text("")
    (home / "big.ckpt").write_bytes(bytes(LARGE))
    (home / "small.ckpt").write_bytes(b"x")
    (home / "locks").mkdir()
    (home / "locks/cpu.txt").write_text("")
    (home.parent / ".gitignore").write_text("data\nwandb/\nvenv\n*.ckpt\nruns/\nlocks/\n")
    (home / "layerline.toml").write_text('[images.a]\nsource = ["**", "data/train/*"]\n')
    git = ["git", "-C", str(home.parent)]
    command.run([*git, "init", "--quiet"])
    command.run([*git, "add", "--force", "project/runs/kept/x"])
    return home


def test_what_git_ignores_and_no_pattern_starts_with_is_not_read(project: Path) -> None:
    assert sorted(unread_patterns(project)) == ["big.ckpt", "venv", "wandb"]
    (project / "layerline.toml").write_text("not TOML")
    assert sorted(unread_patterns(project)) == ["big.ckpt", "data", "venv", "wandb"]


@pytest.mark.parametrize("source", ["src/**", "src/a.py"])
def test_an_image_that_was_exported_into_the_project_is_not_read(
    project: Path, source: str
) -> None:
    """Its README exports to the working directory, and the next call copied the whole archive."""
    (project / "layerline.toml").write_text(f'[images.a]\nsource = ["{source}", "!**/x"]\n')
    _export(project)
    assert {"image.tar", "layout"} < set(unread_patterns(project))
    assert not {"data.tar", "tracked.tar"} & set(unread_patterns(project))


@pytest.mark.parametrize("source", ["**", "*.tar", "image.tar"])
def test_an_image_that_a_pattern_may_take_is_read(project: Path, source: str) -> None:
    (project / "layerline.toml").write_text(f'[images.a]\nsource = ["{source}"]\n')
    _export(project)
    assert "image.tar" not in unread_patterns(project)


def _export(project: Path) -> None:
    """An OCI archive, a docker archive that is tracked, a layout, and a tar of something else."""
    (project / ".gitignore").write_text("!layout\n")
    for name, members in {
        "image.tar": ("oci-layout", "large"),
        "tracked.tar": ("manifest.json", "large"),
        "data.tar": ("images/oci-layout", "large"),
    }.items():
        with tarfile.open(project / name, "w") as archive:
            for member in members:
                entry = tarfile.TarInfo(member)
                entry.size = LARGE
                archive.addfile(entry, io.BytesIO(bytes(LARGE)))
    (project / "layout/blobs/sha256").mkdir(parents=True)
    (project / "layout/oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    command.run(["git", "-C", str(project), "add", "tracked.tar"])


def test_without_git_everything_is_read(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("data\n")
    (tmp_path / "data").mkdir()
    assert unread_patterns(tmp_path) == []


def test_the_argument_of_the_shipped_pipeline_has_the_rest(project: Path, tmp_path: Path) -> None:
    arg = FunctionArg(name="source", type_def=TypeDef(name="Directory"), default_path="/")
    function = Function(name="", return_type=TypeDef(), args=(arg,))
    with Store.open(tmp_path / "store") as store:
        reader = Reader(store=store)
        found = complete(function, {}, find_module(None, workdir=project), reader)
        directory = reader.objects[found["source"]]
        root = store.snapshots.path(directory.tree.snapshots[0])
        names = sorted(path.name for path in root.iterdir())
    assert names == ["data", "layerline.toml", "locks", "runs", "small.ckpt", "src"]
