"""Projects of the repository: their sources, what their builds require, and the lock's record.

What a source without `build-system` is built with is that of PEP 518 and of pip
(`src/pip/_internal/pyproject.py`): setuptools from 40.8.0 on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagger
import pytest
from dagger import dag

import layerline
from layerline import command
from layerline.pipeline import dockerfile
from layerline.pipeline.definition import Definition, parse_definition
from layerline.pipeline.diagnostics import DefinitionError
from layerline.pipeline.foreign_lock import merge
from layerline.pipeline.lock import LockError
from layerline.pipeline.lock_inputs import LockInputs
from layerline.pipeline.partition import partition
from layerline.pipeline.platform import Platform
from layerline.pipeline.projects import Projects, build_requirements, check_recorded, unmet
from layerline.pipeline.source import NOT_LOADED, select

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

TOML = """\
[targets.cpu]
[groups.core]
requirements = ["numpy"]
[images.app]
target = "cpu"
groups = ["core"]
projects = [".", "libs/one"]
"""
BUILT_BY = {".": ("hatchling>=1", "tomli; python_version < '3.11'"), "libs/one": ()}
PINS = "".join(f"{name}==1.0 \\\n    --hash=sha256:aa\n" for name in ("hatchling", "numpy", "uv"))
HERE = Platform(python="3.11.2", machine="x86_64")


def locked(toml: str = TOML) -> str:
    return LockInputs.of(parse_definition(toml), "cpu", HERE, None, BUILT_BY).header() + PINS


def test_a_lock_records_what_builds_a_project_and_no_layer_has_it() -> None:
    assert LockInputs.read(locked()) == LockInputs.of(
        parse_definition(TOML), "cpu", HERE, None, BUILT_BY
    )
    parts = partition(locked(), parse_definition(TOML), "cpu")
    names = {path: [pin.name for pin in them] for path, them in parts.project_builders.items()}
    assert names == {".": ["hatchling"], "libs/one": []}
    assert [pin.name for layer in parts.layers.values() for pin in layer.pins] == ["numpy"]


def test_a_project_that_the_lock_does_not_know_makes_it_out_of_date() -> None:
    toml = TOML.replace('"libs/one"', '"libs/one", "libs/two"')
    with pytest.raises(LockError) as caught:
        partition(locked(), parse_definition(toml), "cpu")
    assert str(caught.value).splitlines() == [
        "locks/cpu.txt is out of date with layerline.toml: regenerate it with "
        "'layerline call lock --target=cpu export --path=locks/cpu.txt'",
        "  image app has the project libs/two, whose build it was not resolved for",
    ]


def test_a_build_that_requires_something_else_makes_the_lock_out_of_date() -> None:
    check_recorded(locked(), BUILT_BY, "cpu")
    with pytest.raises(LockError) as caught:
        check_recorded(locked(), {**BUILT_BY, "libs/one": ("cython",)}, "cpu")
    assert str(caught.value).splitlines()[1] == (
        "  the build of libs/one requires cython; the lock was resolved for nothing"
    )


def test_a_lock_of_another_tool_keeps_what_builds_the_projects() -> None:
    toml = TOML.replace("[targets.cpu]", '[targets.cpu]\nlock = "requirements.txt"')
    definition = parse_definition(toml)
    theirs = f"numpy==1.0 --hash=sha256:{'a' * 64}\n"
    parts = partition(merge(locked(toml), theirs, definition, "cpu"), definition, "cpu")
    assert [pin.name for pin in parts.project_builders["."]] == ["hatchling"]


def test_what_a_wheel_requires_is_compared_with_the_layers() -> None:
    metadata = (
        "Metadata-Version: 2.1\nName: app\nRequires-Dist: numpy>=2\nRequires-Dist: Scipy\n"
        "Requires-Dist: six; extra == 'old'\nRequires-Dist: idna<4\n"
        "Requires-Dist: colorama; sys_platform == 'win32'\n\nRequires-Dist: not a field\n"
    )
    assert list(unmet(metadata, {"numpy": "1.26", "idna": "3.7"}, HERE)) == [
        "numpy>=2; its layers have 1.26",
        "Scipy, which is in no layer",
    ]


def test_what_a_build_requires_is_in_its_pyproject() -> None:
    assert build_requirements('[build-system]\nrequires = ["flit_core"]\n') == ("flit_core",)
    assert build_requirements("[project]\nname = 'a'\n") == ("setuptools>=40.8.0",)
    with pytest.raises(ValueError, match="not TOML"):
        build_requirements("[")


def test_an_image_with_projects_has_no_dockerfile() -> None:
    with pytest.raises(ValueError, match="no Dockerfile for image app: its projects"):
        dockerfile.render(parse_definition(TOML), {"cpu": locked()}, ignored=())


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A repository of two projects, with a session for the SDK."""
    place = tmp_path_factory.mktemp("repository")
    for path in ("pyproject.toml", "libs/one/setup.py", "src/a.py", "libs/one/b.py", "locks/x"):
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text("")
    (place / "layerline.toml").write_text(TOML.replace("libs/one", "libs/onne"))
    command.run(["git", "-C", str(place), "init", "--quiet"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAYERLINE_STORE", str(tmp_path_factory.mktemp("store")))
        with layerline.connect(workdir=place):
            yield place


@pytest.fixture
async def loaded(repository: Path) -> AsyncIterator[dagger.Directory]:
    async with dagger.connection():
        yield dag.host().directory(str(repository), exclude=list(NOT_LOADED))


async def projects(loaded: dagger.Directory, definition: Definition) -> Projects:
    return Projects(definition=definition, target="cpu", selection=await select(loaded))


async def test_a_project_is_built_from_its_own_files(loaded: dagger.Directory) -> None:
    found = await projects(loaded, parse_definition(TOML))
    assert await found.requirements() == dict.fromkeys([".", "libs/one"], ("setuptools>=40.8.0",))
    assert await found.source("libs/one").entries() == ["b.py", "setup.py"]
    own = [each for each in await found.source(".").glob("**") if not each.endswith("/")]
    assert sorted(own) == ["pyproject.toml", "src/a.py"]


async def test_a_directory_that_is_no_project_is_refused_at_its_line(
    loaded: dagger.Directory,
) -> None:
    definition = parse_definition(TOML.replace("libs/one", "libs/onne"))
    with pytest.raises(DefinitionError) as caught:
        await (await projects(loaded, definition)).requirements()
    assert str(caught.value) == (
        "layerline.toml:7: projects has 'libs/onne', which has no pyproject.toml or setup.py that "
        "git tracks: did you mean 'libs/one'?"
    )
