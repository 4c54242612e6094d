"""A package index of the tests' own: a directory of wheels behind TLS and a login."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import ssl
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from layerline import command
from tests.http_server import running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADDRESS = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """A running index; `answers` gets the status of each answer."""

    wheels: Path
    login: str
    answers: list[int] = field(default_factory=list)
    port: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where packages are looked for."""
        return f"https://{ADDRESS}:{self.port[0]}/simple"

    @property
    def header(self) -> str:
        """What a program sends that knows the login."""
        return "Basic " + base64.b64encode(self.login.encode()).decode()


class _Answer(BaseHTTPRequestHandler):
    """Pages of links, and the wheels themselves, for those who are logged in."""

    def __init__(self, *args: Any, index: Index) -> None:  # noqa: ANN401
        self.index = index
        super().__init__(*args)

    def do_GET(self) -> None:
        kind, _, name = self.path.strip("/").partition("/")
        wheel = self.index.wheels / name
        if self.headers.get("Authorization") != self.index.header:
            self._answer(401, b"")
        elif kind == "simple" and (page := self._page(name)):
            self._answer(200, page)
        elif kind == "files" and wheel.is_file():
            self._answer(200, wheel.read_bytes())
        else:
            self._answer(404, b"")

    do_HEAD = do_GET

    def _page(self, project: str) -> bytes:
        found = [
            path
            for path in sorted(self.index.wheels.glob("*.whl"))
            if re.sub(r"[-_.]+", "-", path.name.partition("-")[0]) == project
        ]
        return "".join(
            f'<a href="/files/{path.name}#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}">'
            f"{path.name}</a>\n"
            for path in found
        ).encode()

    def _answer(self, status: int, body: bytes) -> None:
        self.index.answers.append(status)
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="wheels"')
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(wheels: Path, place: Path, *, login: str) -> Iterator[Index]:
    """An index with a certificate by an authority of its own, `authority.pem`, below a place."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*_certificate(place))
    index = Index(wheels=wheels, login=login)
    server = ThreadingHTTPServer((ADDRESS, 0), partial(_Answer, index=index))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with running(server) as port:
        index.port.append(port)
        yield index


def _certificate(place: Path) -> tuple[Path, Path]:
    """A certificate of the address, by a new authority, and its key."""
    program = command.find("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    authority, signing = place / "authority.pem", place / "authority.key"
    certificate, key, asked = (place / name for name in ("own.pem", "own.key", "own.csr"))
    extensions = place / "own.ext"
    extensions.write_text(f"subjectAltName=IP:{ADDRESS}\nbasicConstraints=CA:FALSE\n")
    new = (program, "req", "-newkey", "rsa:2048", "-nodes")
    command.run([*new, "-x509", "-subj", "/CN=tests", "-keyout", signing, "-out", authority])
    command.run([*new, "-subj", f"/CN={ADDRESS}", "-keyout", key, "-out", asked])
    sign = (program, "x509", "-req", "-CAcreateserial", "-in", asked, "-out", certificate)
    command.run([*sign, "-CA", authority, "-CAkey", signing, "-extfile", extensions])
    return certificate, key
