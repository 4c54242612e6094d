"""A docker daemon of the tests' own, on a socket of its own, ended with them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.errors import CommandFailed
from tests.conftest import no_root, skip_because

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

START_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Docker:
    """A running daemon; `environ` is what makes the docker program speak to it."""

    environ: Mapping[str, str]
    root: Path

    def run(self, *words: str, cwd: Path | None = None) -> bytes:
        argv: list[str | Path] = [command.require("docker", package="docker.io"), *words]
        return command.run(argv, env=self.environ, cwd=cwd, timeout=120.0).stdout


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """Debian's daemon, without a network."""
    skip_because(no_root)
    daemon = command.find("dockerd")
    if daemon is None or command.find("docker") is None:
        pytest.skip("docker is not installed")
    place = tmp_path_factory.mktemp("docker")
    socket = f"unix://{place}/sock"
    environ = {"DOCKER_HOST": socket, "DOCKER_BUILDKIT": "0", "HOME": str(place)}
    argv: list[str | Path] = [daemon, "--host", socket, "--iptables=false", "--bridge=none"]
    argv += ["--data-root", place / "data", "--exec-root", place / "exec"]
    argv += ["--pidfile", place / "pid"]
    with (place / "log").open("wb") as log:
        process = command.start(argv, stdout=log, stderr=log)
        try:
            found = Docker(environ=environ, root=place / "data")
            wait_for(found, place / "log")
            yield found
        finally:
            process.terminate()
            process.wait()


def wait_for(docker: Docker, log: Path) -> None:
    """Return once the daemon answers; skip with its last words when it cannot start here."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            docker.run("version")
        except CommandFailed:
            if time.monotonic() > deadline:
                pytest.skip(f"dockerd does not start here: {log.read_text()[-300:]}")
            time.sleep(0.2)
        else:
            return
