"""The docker daemon that the doctor looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docker import daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.docker import Docker


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """Debian's daemon, without a network."""
    with daemon(tmp_path_factory.mktemp("docker")) as running:
        yield running
