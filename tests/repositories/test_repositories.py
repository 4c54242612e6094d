"""Each repository goes `init`, `lock`, `build`, and its own program runs in the exported image.

After `init` there are at most three commands, those that it names. Twelve of fourteen need no edit;
what the others need is in one message.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.pipeline.definition import parse_definition
from layerline.pipeline.requirement import project
from layerline.pipeline.source import check_patterns
from layerline.settings import process_environ
from tests.images import cache_directory, serve
from tests.integration.conftest import Call, Project
from tests.integration.test_layers import LONGEST_SECONDS, environment
from tests.integration.wheels import write_wheel
from tests.repositories.shapes import ONE, SHAPES, TWO, Shape
from tests.unit.cli.commands.test_init import run_init

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory, registry: str) -> dict[str, str]:
    """A home and a store of this module's own, and a registry that has the bases."""
    serve(registry, cache_directory(process_environ()))
    return environment(tmp_path_factory.mktemp("home"), registry)


def repository(place: Path, environ: dict[str, str], shape: Shape) -> Project:
    """The repository as git would have it, with wheels next to its files."""
    for path, text in shape.files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(text)
    command.run(["git", "-C", str(place), "init", "--quiet"])
    return Project(home=place / shape.where, environ=environ)


def init(project: Project, shape: Shape) -> list[list[str]]:
    """Run `init`, and return the commands that it says come next."""
    done = project.call("init")
    assert done.status == 0, done.stderr
    following = next_commands(done.stderr)
    assert len(following) == 3
    text = (project.home / "layerline.toml").read_text()
    if shape.edit:
        assert shape.message in done.stderr
        assert shape.edit[0] in text
        (project.home / "layerline.toml").write_text(text.replace(*shape.edit))
    return following


def next_commands(said: str) -> list[list[str]]:
    """The commands that `init` names, without the program."""
    lines = said.partition("Wrote layerline.toml.")[2].splitlines()
    return [line.split()[1:] for line in lines if line.startswith("  ")]


def run(project: Project, argv: list[str]) -> Call:
    """Run a command that `init` named, with the wheels."""
    done = project.call("call", "--wheelhouse=wheels", *argv[1:], timeout=LONGEST_SECONDS)
    assert done.status == 0, done.stderr
    return done


def program_of(project: Project, archive: str) -> str:
    """What the program prints in the image of an archive, as it is configured."""
    chain = ("import", f"--source={archive}")
    words = ("--no-mod", "call", "container", *chain)
    args = project.call(*words, "default-args").stdout.splitlines()
    given = ",".join('"' + each.replace('"', '""') + '"' for each in args)
    exec_ = ("with-exec", "--use-entrypoint", f"--args={given}", "stdout")
    done = project.call(*words, *exec_, timeout=LONGEST_SECONDS)
    assert done.status == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", SHAPES)
def test_init_writes_what_the_pipeline_reads(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = SHAPES[name]
    home = repository(tmp_path, {}, shape).home
    run_init(home)
    text = (home / "layerline.toml").read_text()
    definition = parse_definition(text)
    check_patterns(definition, text)
    [image] = definition.images.values()
    runs = image.command != ("python",) or image.entrypoint != ("tini", "--")
    assert runs is (shape.edit is None)
    said = capsys.readouterr().err
    if shape.edit:
        assert shape.message in said
    assert image.projects == shape.projects
    assert definition.base.image == "debian:bookworm-slim"
    groups = definition.groups.values()
    required = {project(text) for each in groups for text in each.requirements_for(image.target)}
    assert required <= {ONE, TWO}
    assert [argv[:2] for argv in next_commands(said)] == [
        ["call", "lock"],
        *[["call", "build"]] * 2,
    ]


@pytest.mark.privileged
@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_a_repository_becomes_an_image_that_runs_its_program(
    name: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    shape = SHAPES[name]
    project = repository(tmp_path, environ, shape)
    if shape.where != ".":
        refused = Project(home=tmp_path, environ=environ).call("init")
        assert (refused.status, shape.message in refused.stderr) == (1, True)
    lock, build, _ = init(project, shape)
    wheels = project.home / "wheels"
    write_wheel(wheels, ONE, "1.0")
    write_wheel(wheels, TWO, "1.0", requires=[ONE])
    run(project, lock)
    run(project, build)
    [archive] = [path.name for path in project.home.glob("*.tar")]
    assert re.fullmatch(r"[a-z0-9-]+\.tar", archive)
    assert program_of(project, archive) == shape.said
    shutil.rmtree(tmp_path)
