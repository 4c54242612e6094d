"""Modules that depend on modules: where they are looked for, and what they change."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from layerline.engine.module.loading import load_module
from layerline.engine.module.source import read_config
from layerline.engine.store.store import Store
from layerline.errors import ModuleError
from tests.unit.module.fetching import no_fetch

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.module.loading import LoadedModule


def write(root: Path, name: str, *dependencies: dict[str, Any] | str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    document = {
        "name": name,
        "engineVersion": "v0.21.8",
        "sdk": {"source": "python"},
        "dependencies": dependencies,
    }
    (root / "dagger.json").write_text(json.dumps(document))
    (root / "code.py").write_text("")
    return root


def load(root: Path) -> LoadedModule:
    with Store.open(root.parent / "store") as store:
        return load_module(read_config(root), store, no_fetch)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    return tmp_path


def test_a_dependency_has_the_name_that_its_caller_gives_it(repository: Path) -> None:
    write(repository / "text", "text-base")
    root = write(repository / "app", "app", {"name": "base", "source": "../text"}, "../text")
    loaded = load(root)
    assert [each.name for each in loaded.dependencies] == ["base", "text-base"]
    assert {each.module.name for each in loaded.dependencies} == {"text-base"}


def test_a_module_is_another_when_what_it_depends_on_changes(repository: Path) -> None:
    deepest = write(repository / "c", "c")
    write(repository / "b", "b", "../c")
    root = write(repository / "a", "a", "../b")
    digests = {(load(root)).digest}
    (deepest / "code.py").write_text("# changed")
    digests.add((load(root)).digest)
    assert len(digests) == 2


def test_a_circle_is_refused(repository: Path) -> None:
    write(repository / "b", "b", "../a")
    root = write(repository / "a", "a", "../b")
    with pytest.raises(ModuleError, match="depends on itself: a -> b -> a"):
        load(root)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("../../outside", "escapes context"),
        ("../missing", "failed to resolve dep to source: local path .* does not exist"),
        ("../empty", "has no dagger.json"),
    ],
)
def test_where_there_is_no_module_it_is_said(repository: Path, source: str, message: str) -> None:
    (repository / "empty").mkdir()
    root = write(repository / "app", "app", {"name": "base", "source": source})
    with pytest.raises(ModuleError, match=message):
        load(root)


def test_a_dependency_without_a_source_is_refused(repository: Path) -> None:
    root = write(repository / "app", "app", {"name": "base"})
    with pytest.raises(ModuleError, match='needs a "source"'):
        read_config(root)


def test_a_toolchain_and_a_blueprint_work_for_the_module_that_uses_them(repository: Path) -> None:
    write(repository / "tool", "tool")
    for key, value in (("toolchains", ["../tool"]), ("blueprint", "../tool")):
        root = repository / key
        root.mkdir()
        (root / "dagger.json").write_text(json.dumps({"name": "user", key: value}))
        loaded = load(root)
        used = loaded.toolchains[0].module if key == "toolchains" else loaded
        assert used.name == "tool"
        assert used.config.resolve("data") == root / "data"
        assert used.config.resolve("/data") == repository / "data"


def test_a_module_without_an_sdk_has_no_functions(repository: Path) -> None:
    root = repository / "empty"
    root.mkdir()
    (root / "dagger.json").write_text(json.dumps({"name": "my-tools"}))
    with Store.open(repository / "store") as store:
        defined = load_module(read_config(root), store, no_fetch).definition(store)
    assert defined is not None
    assert [item.name for item in defined.objects] == ["MyTools"]
