"""A registry of the tests' own, without TLS and login, ended with them."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from layerline import command
from tests.daemons import running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_SECONDS = 10.0
SETTINGS = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: {deletes}}}}}
http: {{addr: "{address}"}}
"""


@contextlib.contextmanager
def serving(place: Path, *, deletes: bool = True) -> Iterator[str]:
    """The host:port of a running registry that keeps what it is sent in a directory."""
    program = command.find("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    settings = place / "config.yml"
    settings.write_text(
        SETTINGS.format(root=place / "blobs", address=address, deletes=str(deletes).lower())
    )
    with running([program, "serve", settings], log=place / "log"):
        _wait_for(f"http://{address}/v2/", place / "log")
        yield address


def _wait_for(url: str, log: Path) -> None:
    """Return once the server answers; fail with its log when it does not."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            httpx.get(url)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"{url} did not answer within {START_SECONDS} s:\n{log.read_text()}")
