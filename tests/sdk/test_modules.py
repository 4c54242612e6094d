"""Modules that were written for other versions: of the engine in dagger.json, of the SDK's pin.

The Dagger engine gives a module its own SDK, generated for the view of `engineVersion`
(core/schema/container.go and directory.go at v0.21.8: View(BeforeVersion("v0.19.0"))).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from layerline import command

if TYPE_CHECKING:
    from tests.sdk.conftest import Desk

pytestmark = [pytest.mark.privileged, pytest.mark.network]

MODULE = """\
import dagger
from dagger import dag, function, object_type

@object_type
class Sample:
    @function
    async def names(self) -> list[str]:
        folder = dag.directory().with_new_file("Dockerfile", "FROM scratch\\nENV A=b")
        nested = dag.directory().with_directory("d", {argument}=folder)
        both: dagger.Container = {build}.with_directory("/x", {argument}=nested)
        return [await both.env_variable("A"), *await both.directory("/x").glob("**")]
"""
OLD = MODULE.format(argument="directory", build="dag.container().build(folder)")
NEW = MODULE.format(argument="source", build="folder.docker_build()")


@pytest.mark.parametrize(
    ("engine", "pinned", "source"),
    [
        ("v0.18.19", "==0.18.19", OLD),
        ("v1.0.0-beta.21", ">=1.0.0b11", NEW),
        pytest.param("v0.19.11", "==0.19.11", NEW, marks=pytest.mark.slow),
        pytest.param("v0.20.8", "==0.20.8", NEW, marks=pytest.mark.slow),
        pytest.param("v0.21.11", "==0.21.11", NEW, marks=pytest.mark.slow),
    ],
)
def test_a_module_of_another_version(desk: Desk, engine: str, pinned: str, source: str) -> None:
    home = desk.project.home
    described = {"name": "sample", "sdk": {"source": "python"}, "engineVersion": engine}
    (home / "dagger.json").write_text(json.dumps(described))
    (home / "pyproject.toml").write_text(
        f'[project]\nname = "sample"\nversion = "1"\ndependencies = ["dagger-io{pinned}"]\n'
    )
    (home / "src/sample").mkdir(parents=True)
    (home / "src/sample/__init__.py").write_text(source)
    command.run(["git", "init", "--quiet", home])
    done = desk.project.call("call", "--silent", "names", timeout=300.0)
    assert done.stdout.split() == ["b", "d/", "d/Dockerfile"], done.stderr
