"""Our wheel is all that another project needs: it has a layerline.toml and a lock, nothing else."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.settings import process_environ
from tests.images import cache_directory, serve
from tests.integration.conftest import Call, Project
from tests.integration.test_layers import (
    DEFINITION,
    LONGEST_SECONDS,
    build,
    environment,
    lock,
    manifest,
    repository,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = [pytest.mark.privileged, pytest.mark.network, pytest.mark.slow]

HOME = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
PACKAGES = "import layerline, importlib.metadata as m; print(sorted(m.packages_distributions()))"
OURS = """\
import importlib.metadata as m
print([name for name, by in m.packages_distributions().items() if "layerline" in by])
"""
# What the shipped pipeline offers; a repository's own images and tests are not among them.
OFFERED = {
    *("build", "build-all", "dockerfiles", "evidence", "lock", "plan", "publish", "report"),
    *("sbom", "validate"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed(Project):
    """A project where the tool is what a fresh environment has installed."""

    program: Path

    def argv(self, *words: str) -> list[str]:
        return [str(self.program), *words]


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory, registry: str) -> dict[str, str]:
    """A home and a store of this module's own, without a path to the source."""
    serve(registry, cache_directory(process_environ()))
    own = environment(tmp_path_factory.mktemp("home"), registry)
    return {name: value for name, value in own.items() if name != "PYTHONPATH"}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tool of a fresh environment: the locked requirements, and the wheel of this tree."""
    place = tmp_path_factory.mktemp("wheel")
    run(UV, "build", "--wheel", "--out-dir", place, HOME)
    [wheel] = place.glob("layerline-*.whl")
    python = place / "venv/bin/python"
    run(UV, "venv", "--python", sys.executable, place / "venv")
    locked = HOME / "requirements/tool.txt"
    run(UV, "pip", "install", "--python", python, "--require-hashes", "-r", locked)
    run(UV, "pip", "install", "--python", python, "--no-deps", wheel)
    return place / "venv/bin/layerline"


def run(*argv: str | Path, env: Mapping[str, str] | None = None) -> None:
    command.run(list(argv), env=env or process_environ(), timeout=LONGEST_SECONDS)


def test_a_directory_with_nothing_but_a_definition_is_locked_and_built(
    program: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    plain = repository(tmp_path, environ, DEFINITION)
    project = Installed(home=plain.home, environ=environ, program=program)
    listed = project.call("functions")
    assert listed.status == 0, listed.stderr
    assert "build-all" in listed.stdout
    lock(project)
    done = build(project)
    assert done.status == 0, done.stderr
    [_, layers, config] = manifest(project.home / "small.tar")
    assert len(layers) > 3
    assert str(program.parents[1]) not in str(config)
    again = build(project)
    assert (again.status, again.containers()) == (0, [])


def offered(listed: Call) -> set[str]:
    """The names in a list of functions."""
    assert listed.status == 0, listed.stderr
    lines = listed.stdout.partition("\n\n")[0].splitlines()
    return {line.split()[0] for line in lines[1:]}


def test_the_wheel_brings_one_package(program: Path) -> None:
    python = program.with_name("python")
    packages = command.run([python, "-c", PACKAGES]).stdout.decode()
    assert "'layerline'" in packages
    assert "'ci'" not in packages
    assert command.run([python, "-c", OURS]).stdout.decode() == "['layerline']\n"


def test_another_repository_sees_the_pipelines_functions_only(
    program: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    home = repository(tmp_path, environ, DEFINITION).home
    project = Installed(home=home, environ=environ, program=program)
    assert offered(project.call("functions")) == OFFERED
    shipped = next(program.parents[1].glob("lib/python*/site-packages/layerline/pipeline"))
    assert offered(project.call("functions", "-m", str(shipped))) == OFFERED


def test_the_tool_may_be_installed_inside_the_repository(
    program: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    home = repository(tmp_path, environ, DEFINITION).home
    run(UV, "venv", "--python", sys.executable, home / ".venv")
    (home / ".gitignore").write_text("/.venv\n")
    python = home / ".venv/bin/python"
    [wheel] = program.parents[2].glob("layerline-*.whl")
    locked = HOME / "requirements/tool.txt"
    run(UV, "pip", "install", "--python", python, "--require-hashes", "-r", locked)
    run(UV, "pip", "install", "--python", python, "--no-deps", wheel)
    project = Installed(home=home, environ=environ, program=home / ".venv/bin/layerline")
    assert offered(project.call("functions")) == OFFERED
