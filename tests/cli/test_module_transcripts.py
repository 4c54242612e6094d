"""The recordings of modules, their checks and what manages them, played again in order."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from layerline.settings import process_environ
from tests import git_server
from tests.cli.replay import HERE, make_replay, recorded_blocks
from tests.images import cache_directory, serve_as

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.replay import Replay
    from tests.cli.transcript import Recorded, ShellCommand
    from tests.cli.warm import WarmProgram

pytestmark = [pytest.mark.privileged, pytest.mark.network]

# The modules of the recordings.
RECORDINGS = {"checks": "checks", "deps": "deps", "git": "git_user", "manage": "deps"}
EXCEPTIONS = {
    ("manage", "version"): "prints Layerline's version and that of the API",
}
RECORDED_PIN = "fd0c8915874362aa034b4bbbb7d89a4effaac2f2"


@pytest.fixture(scope="module")
def replays(
    tmp_path_factory: pytest.TempPathFactory,
    environ: dict[str, str],
    warm: WarmProgram,
    bases: str,
) -> Iterator[dict[str, Replay]]:
    serve_as(bases, cache_directory(process_environ()), "alpine:latest")
    found = {
        name: make_replay(tmp_path_factory.mktemp(name), module, environ, warm)
        for name, module in RECORDINGS.items()
    }
    root = tmp_path_factory.mktemp("served")
    pin = served_repository(root / "dep.git")
    with git_server.serve(root) as at:
        found["git"].names |= {"127.0.0.1": at, RECORDED_PIN: pin}
        yield found


def served_repository(repository: Path) -> str:
    """The repository of the recording; the commit of its first version."""
    shutil.copytree(HERE / "git_served", repository, ignore=shutil.ignore_patterns("sub"))
    pin = git_server.commit(repository, "v1.0.0")
    shutil.copytree(HERE / "git_served" / "sub", repository / "sub")
    shutil.copytree(HERE / "git_served" / "src", repository / "sub" / "src")  # the same code
    git_server.commit(repository, "sub/v1.1.0")
    return pin


@pytest.mark.parametrize(("name", "block"), recorded_blocks(*RECORDINGS))
def test_it_goes_as_recorded(
    replays: dict[str, Replay], name: str, block: Recorded | ShellCommand
) -> None:
    if reason := EXCEPTIONS.get((name, block.line)):
        pytest.skip(reason)
    replays[name].play(block)
