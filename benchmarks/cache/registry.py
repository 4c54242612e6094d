"""Debian's docker-registry with TLS and a login, at the far side of a slow line."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import bcrypt

from benchmarks.cache.line import NEAR, far_address, far_side, relayed
from layerline import command
from layerline.settings import CA_BUNDLE
from tests.daemons import running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.cache.line import Line

_PORT = 5443
_USER, _PASSWORD = "measured", "correct-horse"
_START_SECONDS = 15.0
_SETTINGS = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {place}/blobs}}, delete: {{enabled: true}}}}
auth: {{htpasswd: {{realm: measured, path: {place}/htpasswd}}}}
http:
  addr: "{address}"
  tls: {{certificate: {place}/registry.pem, key: {place}/registry.key}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """A registry: `environ` is what a client needs for its certificate and its login."""

    line: Line
    place: Path

    @property
    def address(self) -> str:
        """Where clients find it: the near end of the line."""
        return self.line.address

    @property
    def environ(self) -> Mapping[str, str]:
        """A bundle with its certificate, and docker's configuration with its login."""
        login = base64.b64encode(f"{_USER}:{_PASSWORD}".encode()).decode()
        config = self.place / "login"
        config.mkdir(exist_ok=True)
        (config / "config.json").write_text(json.dumps({"auths": {self.address: {"auth": login}}}))
        bundle = self.place / "bundle.pem"
        known = Path(CA_BUNDLE).read_text()
        bundle.write_text(known + (self.place / "registry.pem").read_text())
        return {"DOCKER_CONFIG": str(config), "SSL_CERT_FILE": str(bundle)}


@contextlib.contextmanager
def far_registry(place: Path) -> Iterator[Registry]:
    """A running registry, which keeps what it is sent in a directory."""
    place.mkdir()
    _make_certificate(place)
    salted = bcrypt.hashpw(_PASSWORD.encode(), bcrypt.gensalt(rounds=4)).decode()
    (place / "htpasswd").write_text(f"{_USER}:{salted}\n")
    settings = place / "config.yml"
    address = far_address(_PORT)
    settings.write_text(_SETTINGS.format(place=place, address=address))
    program = command.require("docker-registry", package="docker-registry")
    with far_side() as inside:
        argv: list[str | Path] = [*inside, program, "serve", settings]
        with running(argv, log=place / "log"):
            _wait_for(address, place / "log")
            with relayed(address) as line:
                yield Registry(line=line, place=place)


def _make_certificate(place: Path) -> None:
    names = f"subjectAltName=IP:{NEAR}"
    request = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    files = ("-keyout", place / "registry.key", "-out", place / "registry.pem")
    openssl = command.require("openssl", package="openssl")
    command.run(
        [openssl, *request, *files, "-days", "2", "-subj", "/CN=measured", "-addext", names]
    )


def _wait_for(address: str, log: Path) -> None:
    host, port = address.rsplit(":", 1)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((host, int(port))) as plain, context.wrap_socket(plain):
                return
        except OSError:
            time.sleep(0.05)
    message = f"the registry did not start:\n{log.read_text()}"
    raise SystemExit(message)
