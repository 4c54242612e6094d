"""Connections that do not show a request, too many of them, and uploads refused unread."""

from __future__ import annotations

import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import pytest
from starlette.responses import PlainTextResponse

from ct_scan_mlops.serving import connections
from ct_scan_mlops.serving.connections import REFUSED_UNREAD, UploadConnection
from ct_scan_mlops.web import connections as bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from starlette.types import ASGIApp, Receive, Scope, Send

    Run = Callable[..., AbstractContextManager[str]]


class Hasty(UploadConnection):
    head_seconds = 0.3
    linger_seconds = 0.3


class Slow:
    """Answers uploads only when told, and counts those refused before they reached it."""

    def __init__(self) -> None:
        self.refused = 0
        self.release = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        # It is released from another thread.
        while scope["method"] == "POST" and not self.release:  # noqa: ASYNC110
            await anyio.sleep(0.02)
        await PlainTextResponse("done")(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        scope["state"][REFUSED_UNREAD] = self._count
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    def _count(self) -> None:
        self.refused += 1


@contextmanager
def connected(url: str, *sent: bytes) -> Iterator[socket.socket]:
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        for data in sent:
            connection.sendall(data)
        yield connection


def everything(connection: socket.socket) -> bytes:
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def url(run_application: Run, slow: Slow) -> Iterator[str]:
    app: ASGIApp = slow
    with run_application(app, http=Hasty) as url:
        yield url
        slow.release = True


@pytest.mark.parametrize("start", [b"", b"GET /health HT"])
def test_a_head_that_does_not_come_ends_the_connection(url: str, start: bytes) -> None:
    began = time.monotonic()
    with connected(url, *([start] if start else [])) as connection:
        assert b"HTTP/1.1 408" in everything(connection)
    assert 0.2 < time.monotonic() - began < 3


def test_the_head_of_a_second_request_has_its_time_too(url: str) -> None:
    with connected(url, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET ")
        assert b"HTTP/1.1 408" in everything(connection)


def drip(connection: socket.socket) -> None:
    for byte in b"GET /" + b"x" * 200:
        connection.sendall(bytes([byte]))
        time.sleep(0.02)


def test_a_byte_at_a_time_does_not_extend_it(url: str) -> None:
    began = time.monotonic()
    with connected(url) as connection, pytest.raises(ConnectionError):
        drip(connection)
    assert time.monotonic() - began < 3


def test_a_head_without_end_is_refused_and_the_answer_arrives(url: str) -> None:
    with connected(url, b"GET / HTTP/1.1\r\nA: " + b"x" * 200_000) as connection:
        assert everything(connection).startswith(b"HTTP/1.1 400")


def test_an_upload_too_many_is_refused_unread_and_others_are_served(
    url: str, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "PLACES", 1)
    monkeypatch.setattr(connections, "WAITING", 0)
    upload = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n"
    with connected(url, upload) as first:
        time.sleep(0.2)
        with connected(url, upload, bytes(9_000_000)) as second:
            answer = everything(second)
            assert answer.startswith(b"HTTP/1.1 503")
            assert b"retry-after: 1" in answer
        with connected(url, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n") as other:
            assert other.recv(1000).startswith(b"HTTP/1.1 200")
        slow.release = True
        assert first.recv(1000).startswith(b"HTTP/1.1 200")
    assert slow.refused == 1


def test_connections_have_a_limit(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "MOST_CONNECTIONS", 1)
    with connected(url), connected(url) as second:
        assert everything(second).startswith(b"HTTP/1.1 503")
