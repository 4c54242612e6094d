"""The docker daemon that the doctor looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerline.errors import CommandFailed
from tests.docker import daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.docker import Docker


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """Debian's daemon, without a network."""
    with daemon(tmp_path_factory.mktemp("docker")) as running:
        yield running


@pytest.fixture(scope="session")
def buildkit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """Another one, with builds by the BuildKit that is in it."""
    with daemon(tmp_path_factory.mktemp("buildkit"), buildkit=True) as running:
        try:
            running.run("build", "--help")
        except CommandFailed as exc:
            pytest.skip(f"this docker client cannot speak to BuildKit: {exc}")
        yield running
