"""A registry of the tests' own, without TLS, ended with them."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING

import bcrypt
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
def serving(
    place: Path, *, deletes: bool = True, login: tuple[str, str] | None = None
) -> Iterator[str]:
    """The host:port of a running registry that keeps what it is sent in a directory.

    With a login, it answers nobody else.
    """
    program = command.find("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    settings = place / "config.yml"
    text = SETTINGS.format(root=place / "blobs", address=address, deletes=str(deletes).lower())
    settings.write_text(text + (_login_settings(place, *login) if login else ""))
    with running([program, "serve", settings], log=place / "log"):
        _wait_for(f"http://{address}/v2/", place / "log")
        yield address


def _login_settings(place: Path, user: str, password: str) -> str:
    users = place / "htpasswd"
    users.write_text(f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n")
    return f"auth: {{htpasswd: {{realm: tests, path: {users}}}}}\n"


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
