"""Modules in the shapes of public collections: their functions, and a call of each."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests import git_server
from tests.cli.collection import FROM_GIT, SERVED, SHAPES, Shape
from tests.cli.conftest import Place

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.privileged, pytest.mark.network]

# One of each kind that has code of its own: an old lock, and dependencies.
DEEP = "dependencies three deep, one under two names"
QUICK = {"requirements.lock older than the SDK", DEEP}


def check(shape: Shape, place: Place) -> None:
    listed = place.call("functions", "-s")
    assert listed.status == 0, listed.stderr.decode()
    names = [line.split()[0] for line in listed.stdout.decode().splitlines()[1:] if line]
    assert tuple(names) == shape.functions
    assert place.text(*shape.call) == shape.wanted


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow], id=n) for n in SHAPES],
)
def test_a_shape(tmp_path: Path, environ: dict[str, str], name: str) -> None:
    shape = SHAPES[name]
    workdir = shape.write(tmp_path / "repository")
    git_server.commit(tmp_path / "repository")
    check(shape, Place(workdir=workdir, environ=environ))


def test_a_warm_call_takes_half_a_second_at_most(tmp_path: Path, environ: dict[str, str]) -> None:
    """Of a module with three dependencies; in time of the processor, as others may need it too."""
    shape = SHAPES[DEEP]
    place = Place(workdir=shape.write(tmp_path), environ=environ)
    git_server.commit(tmp_path)
    assert place.text(*shape.call) == shape.wanted
    taken = []
    for _ in range(3):
        before = os.times()
        assert place.text(*shape.call) == shape.wanted
        after = os.times()
        user, system = after.children_user, after.children_system
        taken.append(user + system - before.children_user - before.children_system)
    assert min(taken) <= 0.5


@pytest.mark.slow
def test_a_dependency_from_git(tmp_path: Path, environ: dict[str, str]) -> None:
    served = replace(FROM_GIT, files=SERVED).write(tmp_path / "served" / "voices.git")
    pin = git_server.commit(served, "v1.0.0")
    with git_server.serve(tmp_path / "served") as at:
        files = {
            name: text.replace("AT/", f"{at}/").replace("PIN", pin)
            for name, text in FROM_GIT.files.items()
        }
        workdir = replace(FROM_GIT, files=files).write(tmp_path / "repository")
        git_server.commit(workdir)
        check(FROM_GIT, Place(workdir=workdir, environ=environ))
