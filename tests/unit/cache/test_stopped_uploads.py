"""A registry that is full, refuses or stops during an upload: the build ends well, and soon."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import anyio
import pytest

from layerline.engine.cache.pulse import Pulse
from tests.http_server import running
from tests.unit.cache.conftest import HOST
from tests.unit.cache.test_shared_steps import CHAIN, UUID
from tests.unit.conftest import ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.cache.conftest import Machine

BOUND = 45.0  # for three tries of 20 s there is no time


class Registry(BaseHTTPRequestHandler):
    """An empty registry that answers the content of each blob in the way of the test."""

    protocol_version = "HTTP/1.1"
    status = 0
    released = threading.Event()

    def do_GET(self) -> None:
        is_list = "/tags/list" in self.path
        self.answer(200 if is_list else 404, b'{"tags": []}' if is_list else b"")

    def do_HEAD(self) -> None:
        self.answer(404)

    def do_POST(self) -> None:
        self.answer(202, location=f"{self.path}1")

    def do_PUT(self) -> None:
        is_blob = "/blobs/" in self.path
        if is_blob and not self.status:
            self.rfile.read(1)
            self.released.wait(2 * BOUND)
            self.close_connection = True
            return
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(self.status if is_blob else 201)

    def answer(self, status: int, data: bytes = b"", location: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def registry_with(status: int) -> Iterator[str]:
    """The address of a registry that answers uploads with a status; 0: never."""
    Registry.status = status
    Registry.released.clear()
    with running(ThreadingHTTPServer(("127.0.0.1", 0), Registry)) as port:
        try:
            yield f"127.0.0.1:{port}"
        finally:
            Registry.released.set()


@pytest.mark.privileged
@pytest.mark.usefixtures("overlay")
@pytest.mark.parametrize("status", [507, 401, 0])
async def test_it_costs_one_message(
    machines: tuple[Machine, Machine], rootfs: Path, status: int
) -> None:
    with registry_with(status) as address:
        machine = replace(machines[0], cache=f"{address}/cache")
        with anyio.fail_after(BOUND):
            async with machine.session() as session:
                shared = session.solver.context.shared
                assert shared is not None
                assert shared.sender is not None
                shared.sender.pulse.seconds = 0.5
                root = (await ask(session, HOST, path=str(rootfs)))["host"]["directory"]["id"]
                await ask(session, CHAIN % (UUID, "exitCode"), root=root)
    assert len(machine.containers()) == 2
    assert len(machine.warnings()) == 1


def test_threads_that_do_not_send_have_not_stopped() -> None:
    pulse = Pulse(seconds=0.0)
    assert not pulse.has_stopped(0)
    assert not pulse.has_stopped(1)  # it compresses
    with pulse.sending():
        assert pulse.has_stopped(1)
        assert not pulse.has_stopped(2)
        assert not replace(pulse, seconds=BOUND).has_stopped(1)
    assert not pulse.has_stopped(1)
