"""A docker daemon of the tests' own, on a socket of its own, ended with them."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.errors import CommandFailed
from tests.daemons import running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

START_SECONDS = 30.0
# Debian's client speaks to BuildKit by itself; others need a plugin for it, which may be missing.
CLIENTS = ("/usr/bin/docker", "docker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Docker:
    """A running daemon; `environ` is what makes the docker program speak to it."""

    environ: Mapping[str, str]
    root: Path
    program: Path

    def run(self, *words: str, cwd: Path | None = None, timeout: float = 120.0) -> bytes:
        return command.run(
            [self.program, *words], env=self.environ, cwd=cwd, timeout=timeout
        ).stdout


@contextlib.contextmanager
def daemon(
    place: Path, *flags: str, buildkit: bool = False, own_network: bool = False
) -> Iterator[Docker]:
    """Debian's daemon, without a network; with `own_network` also with a loopback of its own."""
    program, client = command.find("dockerd"), next(filter(None, map(command.find, CLIENTS)), None)
    if program is None or client is None:
        pytest.skip("docker is not installed")
    socket = f"unix://{place}/sock"
    own = {"DOCKER_HOST": socket, "DOCKER_BUILDKIT": str(int(buildkit)), "HOME": str(place)}
    argv: list[str | Path] = ["unshare", "--net", "--"] if own_network else []
    argv += [program, "--host", socket, "--iptables=false", "--bridge=none"]
    argv += ["--data-root", place / "data", "--exec-root", place / "exec"]
    argv += ["--pidfile", place / "pid", *flags]
    with running(argv, log=place / "log") as process:
        found = Docker(environ=own, root=place / "data", program=client)
        _wait_for(found, process, place / "log")
        yield found


def _wait_for(docker: Docker, process: command.Process[bytes], log: Path) -> None:
    """Return once the daemon answers; skip with its last words when it cannot start here."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            docker.run("version")
        except CommandFailed:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"dockerd does not start here: {log.read_text()[-300:]}")
            time.sleep(0.2)
        else:
            return
