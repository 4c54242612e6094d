"""Commits whose version git alone knows: they are read as a repository until a lock has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagger
import pytest

import layerline
from layerline import command
from layerline.pipeline import url_sources
from layerline.pipeline.definition import parse_definition
from layerline.pipeline.lock_inputs import LockInputs
from layerline.pipeline.platform import Platform
from tests import git_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TOML = """\
[targets.cpu]
[groups.core]
requirements = ["one @ git+http://HOST/one@main"]
[images.app]
target = "cpu"
groups = ["core"]
"""
BUILD = '[build-system]\nrequires = ["{}"]\nbuild-backend = "backend"\n'


@pytest.fixture
async def connected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A session with a store of its own."""
    monkeypatch.setenv("LAYERLINE_STORE", str(tmp_path / "store"))
    with layerline.connect(workdir=tmp_path):
        async with dagger.connection():
            yield


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize(
    ("builder", "asks"),
    [("setuptools_scm[toml]>=8", True), ("hatchling", False)],
)
async def test_git_is_asked_once_for_the_version_of_a_commit(
    builder: str, *, asks: bool, tmp_path: Path
) -> None:
    place = tmp_path / "served" / "one"
    place.mkdir(parents=True)
    (place / "pyproject.toml").write_text(BUILD.format(builder))
    git_server.commit(place, "v1.2.3")
    (place / "one.py").touch()
    commit = git_server.commit(place)
    with git_server.serve(tmp_path / "served") as host:
        definition = parse_definition(TOML.replace("HOST", host))
        found = await url_sources.of(definition, "cpu", "", ())
        assert found.asks_git is asks
        assert found.sources["one"].version == ""
        files = found.sources["one"].files
        assert files is not None
        assert (".git/" in await files.entries()) is asks
        if asks:  # what `git describe` needs of a repository
            await files.export(str(tmp_path / "read"))
            argv = ["git", "-c", "safe.directory=*", "describe", "--tags", "--long"]
            described = command.run(argv, cwd=tmp_path / "read").stdout.decode()
            assert described == f"v1.2.3-1-g{commit[:7]}\n"
        inputs = LockInputs.of(
            definition, "cpu", Platform(), {"one": ()}, None, {"one": "1.2.4.dev1"}
        )
        lock = inputs.header() + f"one @ git+http://{host}/one@{commit}\n"
        again = await url_sources.of(definition, "cpu", lock, ())
        assert not again.asks_git
        assert again.sources["one"].version == ("1.2.4.dev1" if asks else "")
        assert (await url_sources.of(definition, "cpu", lock, ["one"])).asks_git is asks
