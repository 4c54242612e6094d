"""A registry of the tests' own, ended with them."""

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
http: {{addr: "{address}"{tls}}}
"""


CERTIFICATE = "registry.pem"
_REQUEST = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@contextlib.contextmanager
def serving(
    place: Path,
    *,
    deletes: bool = True,
    login: tuple[str, str] | None = None,
    tls: str = "",
) -> Iterator[str]:
    """The host:port of a running registry that keeps what it is sent in a directory.

    With a login, it answers nobody else. `tls` is an address of this machine for TLS, not loopback,
    which clients speak plain HTTP to; `CERTIFICATE` in the directory is signed by itself.
    """
    program = command.find("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed")
    host = tls or "127.0.0.1"
    with socket.create_server((host, 0)) as free:
        address = f"{host}:{free.getsockname()[1]}"
    settings = place / "config.yml"
    text = SETTINGS.format(
        root=place / "blobs",
        address=address,
        deletes=str(deletes).lower(),
        tls=_tls_settings(place, host) if tls else "",
    )
    settings.write_text(text + (_login_settings(place, *login) if login else ""))
    with running([program, "serve", settings], log=place / "log"):
        _wait_for(f"{'https' if tls else 'http'}://{address}/v2/", place / "log")
        yield address


def own_address() -> str:
    """An address of this machine that is not loopback; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            pytest.skip("this machine has no address but loopback")


def _tls_settings(place: Path, host: str) -> str:
    certificate, key = place / CERTIFICATE, place / "registry.key"
    files = ("-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=tests")
    command.run(["openssl", *_REQUEST, *files, "-addext", f"subjectAltName=IP:{host}"])
    return f", tls: {{certificate: {certificate}, key: {key}}}"


def _login_settings(place: Path, user: str, password: str) -> str:
    users = place / "htpasswd"
    users.write_text(f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n")
    return f"auth: {{htpasswd: {{realm: tests, path: {users}}}}}\n"


def _wait_for(url: str, log: Path) -> None:
    """Return once the server answers; fail with its log when it does not."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            httpx.get(url, verify=False, trust_env=False)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"{url} did not answer within {START_SECONDS} s:\n{log.read_text()}")
