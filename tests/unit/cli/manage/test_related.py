"""Dependencies are added, updated and removed as Dagger does.

https://github.com/dagger/dagger/blob/v0.21.8/core/schema/modulesource.go, and its integration
tests in core/integration/module_config_test.go.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline.cli.manage.module_file import ModuleFile
from layerline.cli.manage.related import (
    DEPENDENCY,
    TOOLCHAIN,
    RelatedModule,
    add,
    find_related,
    read_related,
    remove,
    update,
)
from layerline.engine.module.git_addresses import GitOrigin
from layerline.engine.module.source import ENGINE_VERSION, ModuleConfig, read_config
from layerline.errors import LayerlineError

if TYPE_CHECKING:
    from layerline.engine.module.git_addresses import GitReference

PARENT = Path("/repository/app")
OLD, NEW = "a" * 40, "b" * 40


def local(name: str, root: str, context: str = "/repository") -> RelatedModule:
    config = ModuleConfig(
        name=name, root=Path(root), context=Path(context), source=".", include=(), caching=True
    )
    return RelatedModule(name=name, config=config, parent=PARENT)


def from_git(name: str, repository: str, subpath: str, version: str) -> RelatedModule:
    origin = GitOrigin(
        reference=repository,
        repository=f"https://{repository}",
        subpath=subpath,
        version=version,
        commit=OLD,
    )
    plain = local(name, f"/store/{subpath}", "/store")
    return replace(plain, config=replace(plain.config, origin=origin))


def fetch(reference: GitReference, pin: str) -> ModuleConfig:
    assert not pin
    found = from_git("", "host.example/owner/name", "/".join(reference.parts[2:]), "")
    origin = found.config.origin
    assert origin is not None
    return replace(
        found.config, origin=replace(origin, version=reference.version or "main", commit=NEW)
    )


APP = local("app", "/repository/app").config
DEPENDENCIES = [
    from_git("docker", "host.example/owner/name", "docker", "docker/v0.4.1"),
    local("near", "/repository/lib/near"),
    from_git("root", "host.example/owner/name", "", "v1"),
]


def test_entries_are_relative_paths_or_references_with_commits() -> None:
    docker, near, root = (each.entry() for each in DEPENDENCIES)
    source = "host.example/owner/name/docker@docker/v0.4.1"
    assert docker == {"name": "docker", "source": source, "pin": OLD}
    assert near == {"name": "near", "source": "../lib/near"}
    assert root["source"] == "host.example/owner/name@v1"


def test_a_new_module_takes_the_place_of_the_same_at_another_version() -> None:
    new = replace(from_git("docker", "host.example/owner/name", "docker", "main"), name="container")
    added = add(APP, DEPENDENCIES, [new], DEPENDENCY)
    assert [each.name for each in added] == ["container", "near", "root"]


def test_a_name_is_given_once() -> None:
    with pytest.raises(LayerlineError, match='duplicate toolchain name "near"'):
        add(APP, DEPENDENCIES, [local("near", "/repository/other")], TOOLCHAIN)


def test_a_module_outside_of_the_repository_is_refused() -> None:
    outside = local("other", "/other", "/other")
    wanted = 'context directory "/other" is not in parent context directory "/repository"'
    with pytest.raises(LayerlineError, match=wanted):
        add(APP, (), [outside], DEPENDENCY)


@pytest.mark.parametrize(
    ("arguments", "sources"),
    [
        ((), ["host.example/owner/name/docker@docker/v0.4.1", "host.example/owner/name@v1"]),
        (("docker",), ["host.example/owner/name/docker@docker/v0.4.1"]),
        (("docker@v0.4.2",), ["host.example/owner/name/docker@v0.4.2"]),
        (("host.example/owner/name/docker@v2",), ["host.example/owner/name/docker@v2"]),
        (("root@v2",), ["host.example/owner/name@v2"]),
    ],
)
def test_all_or_some_are_updated(arguments: tuple[str, ...], sources: list[str]) -> None:
    updated = update(DEPENDENCIES, arguments, DEPENDENCY, fetch)
    assert [each.source for each in updated] == sources
    assert {each.entry()["pin"] for each in updated} == {NEW}


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("near", "updating local dependencies is not supported"),
        ("../lib/near", "updating local dependencies is not supported"),
        ("none", 'dependency "none" was requested to be updated, but it is not found'),
        ("host.example/owner/name@v2", "it is not found in the dependencies list"),
    ],
)
def test_what_cannot_be_updated(argument: str, message: str) -> None:
    with pytest.raises(LayerlineError, match=message):
        update(DEPENDENCIES, [argument], DEPENDENCY, fetch)


@pytest.mark.parametrize(
    ("argument", "left"),
    [
        ("docker", ["near", "root"]),
        ("host.example/owner/name/docker", ["near", "root"]),
        ("docker@v0.4.1", ["near", "root"]),
        ("docker@docker/v0.4.1", ["near", "root"]),
        ("../lib/./near", ["docker", "root"]),
        ("none", ["docker", "near", "root"]),
    ],
)
def test_one_is_removed_by_name_or_place(argument: str, left: list[str]) -> None:
    assert [each.name for each in remove(DEPENDENCIES, argument, DEPENDENCY)] == left


@pytest.mark.parametrize(
    ("argument", "message"),
    [("docker@v9", 'was installed with "docker/v0.4.1"'), ("near@v1", "without a specific")],
)
def test_another_version_is_not_removed(argument: str, message: str) -> None:
    with pytest.raises(LayerlineError, match=message):
        remove(DEPENDENCIES, argument, DEPENDENCY)


def write_module(root: Path, **document: object) -> ModuleConfig:
    root.mkdir(parents=True, exist_ok=True)
    (root / "dagger.json").write_text(json.dumps({"name": root.name, **document}))
    return read_config(root)


def test_short_entries_are_written_in_full(tmp_path: Path) -> None:
    write_module(tmp_path / "base", sdk="python")
    config = write_module(tmp_path, sdk="python", dependencies=["base"])
    (found,) = read_related(config, ["base"], fetch)
    assert found.entry() == {"name": "base", "source": "base"}


def test_a_path_is_relative_to_the_directory_of_the_user(tmp_path: Path) -> None:
    config = write_module(tmp_path / "app", sdk="python")
    write_module(tmp_path / "base", sdk="python")
    found = find_related(config, "base", "", workdir=tmp_path, fetch=fetch)
    assert found.source == "../base"
    for argument, message in (("none", "does not exist"), (".", "has no dagger.json")):
        with pytest.raises(LayerlineError, match=message):
            find_related(config, argument, "", workdir=tmp_path, fetch=fetch)


def test_a_file_is_written_in_the_order_of_dagger(tmp_path: Path) -> None:
    config = write_module(
        tmp_path, mine=1, dependencies=[], sdk="python", engineVersion="v0.15.0", include=["x"]
    )
    file = ModuleFile.read(tmp_path)
    file.set("dependencies", [{"name": "a", "source": "b"}])
    file.target("latest", config)
    file.write()
    text = (tmp_path / "dagger.json").read_text()
    keys = ["name", "engineVersion", "sdk", "include", "dependencies"]
    assert list(json.loads(text)) == [*keys, "disableDefaultFunctionCaching", "mine"]
    assert json.loads(text)["engineVersion"] == ENGINE_VERSION
    assert text.endswith("}\n")


def test_the_version_of_a_newer_engine_stays(tmp_path: Path) -> None:
    write_module(tmp_path, sdk="python", engineVersion="v1.2.0")
    file = ModuleFile.read(tmp_path)
    file.target("latest")
    assert file.document["engineVersion"] == "v1.2.0"
    file.target("0.20.0")
    assert file.document["engineVersion"] == "v0.20.0"
