"""A project chooses its Python apart from this machine's: the base that has it is bootstrapped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.pipeline.bases import ways_to
from tests.integration.test_layers import DEFINITION, build, lock, manifest, repository
from tests.integration.test_layers import environment as environment_of

if TYPE_CHECKING:
    from tests.integration.conftest import Project

pytestmark = [pytest.mark.privileged, pytest.mark.network, pytest.mark.slow]

KEYS = {"3.12": "ubuntu-archive-keyring.gpg", "3.13": "debian-archive-keyring.gpg"}
# Where nobody listens, so the base comes from packages.
NO_REGISTRY = "127.0.0.1:9"


@pytest.fixture(params=sorted(KEYS))
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    keys = Path("/usr/share/keyrings", KEYS[request.param])
    if command.find("mmdebstrap") is None or not keys.exists():
        pytest.skip(f"bootstrapping Python {request.param} needs mmdebstrap and {keys}")
    (tmp_path / "repository").mkdir()
    environ = environment_of(tmp_path / "home", NO_REGISTRY)
    base = DEFINITION[: DEFINITION.index("[targets.cpu]")]
    definition = DEFINITION.replace(base, f'[base]\npython = "{request.param}"\n')
    return repository(tmp_path / "repository", environ, definition)


def test_the_image_has_the_python_that_was_asked_for(
    project: Project, request: pytest.FixtureRequest
) -> None:
    python = request.node.callspec.params["project"]
    lock(project)
    recorded = (project.home / "locks/cpu.txt").read_text()
    assert f"# python: {python}." in recorded
    done = build(project)
    assert done.status == 0, done.stderr
    asked = ("with-exec", "--args=python3,--version", "stdout")
    shown = project.call("call", "--wheelhouse=wheels", "build", "--image=small", *asked)
    assert shown.stdout.startswith(f"Python {python}."), shown.stderr
    assert manifest(project.home / "small.tar")[1]


def test_a_python_that_cannot_be_had_is_refused_with_the_ways_to_it(tmp_path: Path) -> None:
    environ = environment_of(tmp_path / "home", NO_REGISTRY)
    base = DEFINITION[: DEFINITION.index("[targets.cpu]")]
    (tmp_path / "repository").mkdir()
    definition = DEFINITION.replace(base, '[base]\npython = "3.15"\n')
    project = repository(tmp_path / "repository", environ, definition)
    done = project.call("call", "--wheelhouse=wheels", "lock", "--target=cpu")
    assert done.status != 0
    assert "failed to resolve image" in done.error[0]
    assert done.error[1] == ways_to("3.15", "python:3.15-slim-bookworm")
