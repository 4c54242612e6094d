"""A module is found upwards from the user, and contextual paths stay in its repository."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from layerline.engine.module.source import find_module, read_config
from layerline.errors import ModuleError

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.module.git_addresses import GitReference
    from layerline.engine.module.source import ModuleConfig


def write(root: Path, **more: object) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    document = {"name": "sample", "sdk": {"source": "python"}, "engineVersion": "v0.21.8", **more}
    (root / "dagger.json").write_text(json.dumps(document))
    return root


def test_the_module_around_the_working_directory(tmp_path: Path) -> None:
    root = write(tmp_path / "repository" / "module")
    (tmp_path / "repository" / ".git").mkdir()
    below = root / "a" / "b"
    below.mkdir(parents=True)
    found = find_module(None, workdir=below)
    assert (found.root, found.context) == (root, tmp_path / "repository")
    assert found.root_in_context == "module"


def test_a_module_outside_a_repository_is_its_own_context(tmp_path: Path) -> None:
    found = find_module("mod", workdir=write(tmp_path / "mod").parent)
    assert found.context == found.root == tmp_path / "mod"


def test_a_path_that_is_not_there_is_told_in_daggers_words(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere")
    with pytest.raises(ModuleError) as caught:
        find_module(missing, workdir=tmp_path)
    assert str(caught.value) == (
        f'query module objects: loading modules: loading extra module "{missing}": '
        f'resolving module source "{missing}": local path "{missing}" does not exist'
    )


def test_a_directory_without_a_module_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModuleError, match="name the module with -m"):
        find_module(None, workdir=tmp_path / "empty")


def test_a_directory_with_a_definition_is_served_by_the_shipped_pipeline(tmp_path: Path) -> None:
    below = tmp_path / "project" / "src"
    below.mkdir(parents=True)
    (tmp_path / "project" / "layerline.toml").write_text("")
    found = find_module(None, workdir=below)
    assert found.name == "layerline"
    assert (found.root / "main.py").is_file()
    assert found.resolve("/") == tmp_path / "project"
    with pytest.raises(ModuleError, match="outside of context directory"):
        found.resolve("../other")


def test_a_module_of_its_own_comes_before_the_shipped_one(tmp_path: Path) -> None:
    root = write(tmp_path / "project")
    (root / "layerline.toml").write_text("")
    assert find_module(None, workdir=root).root == root


def test_what_is_loaded_is_relative_to_the_context(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    root = write(tmp_path / "m", source="code", include=["*.toml", "!x"], exclude=["y"])
    assert read_config(root).include_patterns() == (
        "m/dagger.json",
        "m/code/**",
        "m/*.toml",
        "!m/x",
        "!m/y",
    )


def test_what_is_included_may_lie_outside_of_the_module_but_not_of_the_repository(
    tmp_path: Path,
) -> None:
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    root = tmp_path / "repository" / "a" / "m"
    patterns = read_config(write(root, include=["../__init__.py"])).include_patterns()
    assert patterns[-1] == "a/__init__.py"
    for path in ("../../../secret", "x/../../../../secret", "!../../../secret"):
        with pytest.raises(ModuleError) as caught:
            read_config(write(root, include=[path])).include_patterns()
        assert str(caught.value) == (
            f'include/exclude path "../secret" escapes context "{tmp_path / "repository"}": '
            f"{root / 'dagger.json'} can name files of its git repository only"
        )


def test_contextual_paths(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    config = read_config(write(tmp_path / "m"))
    assert config.resolve("data") == tmp_path / "m" / "data"
    assert config.resolve("/") == tmp_path
    assert config.resolve("/src") == tmp_path / "src"
    assert config.resolve("../other") == tmp_path / "other"
    with pytest.raises(ModuleError, match="outside of context directory"):
        config.resolve("../../etc")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"sdk": "go"}, 'runs only "sdk": "python"'),
        ({"source": ".."}, "is outside of the module"),
        ({"name": ""}, "names no module"),
        ({"toolchains": [{"name": "x"}]}, 'needs a "source"'),
    ],
)
def test_what_cannot_be_run_is_refused(
    tmp_path: Path, more: dict[str, object], message: str
) -> None:
    with pytest.raises(ModuleError, match=message):
        read_config(write(tmp_path, **more))


def test_results_of_modules_for_older_engines_live_for_a_session(tmp_path: Path) -> None:
    assert read_config(write(tmp_path / "new")).caching
    assert not read_config(write(tmp_path / "old", engineVersion="v0.19.3")).caching
    assert not read_config(write(tmp_path / "off", disableDefaultFunctionCaching=True)).caching


def test_a_module_of_a_newer_engine_is_tried(tmp_path: Path) -> None:
    assert read_config(write(tmp_path, engineVersion="v1.0.0")).caching


@pytest.mark.parametrize("name", ["dagger.json", "pyproject.toml", "requirements.lock"])
def test_no_link_of_a_module_leads_to_a_file_of_the_host(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text(json.dumps({"name": "of-the-host"}))
    root = write(tmp_path / "repository")
    (root / name).unlink(missing_ok=True)
    (root / name).symlink_to(tmp_path / "secret")
    with pytest.raises(ModuleError, match="leads out of its repository by a link"):
        read_config(root)


@pytest.mark.parametrize("name", ["dagger.json", "pyproject.toml"])
def test_a_pipe_in_place_of_a_file_blocks_nobody(tmp_path: Path, name: str) -> None:
    root = write(tmp_path / "repository")
    (root / name).unlink(missing_ok=True)
    os.mkfifo(root / name)
    with pytest.raises(ModuleError, match="is not a regular file"):
        read_config(root)


def test_a_contextual_path_is_not_followed_out_of_the_repository(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    root = write(tmp_path / "repository")
    (root / "link").symlink_to(tmp_path / "outside")
    for path in ("link", "/link", "link/file"):
        with pytest.raises(ModuleError, match="leads out of its repository by a link"):
            read_config(root).resolve(path)


def test_a_dependency_is_found_by_its_name(tmp_path: Path) -> None:
    # modulesource.go of v0.21.8: a path that does not exist may be the name of a dependency.
    pin = "a" * 40
    dependencies = [
        {"name": "near", "source": "lib/other"},
        {"name": "far", "source": "host.example/owner/name@v1", "pin": pin},
    ]
    root = write(tmp_path / "app", dependencies=dependencies)
    other = write(root / "lib" / "other")
    assert find_module("near", workdir=root / "lib").root == other
    asked: list[tuple[str, str]] = []

    def fetch(reference: GitReference, pin: str) -> ModuleConfig:
        asked.append((reference.text, pin))
        return read_config(other)

    find_module("far", workdir=root, fetch=fetch)
    assert asked == [("host.example/owner/name@v1", pin)]
    with pytest.raises(ModuleError, match='local path "none" does not exist'):
        find_module("none", workdir=root, fetch=fetch)
