"""Forwarding ends with its block, whatever is under way."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

from layerline.engine.runtime.forward import forward, forward_unix

if TYPE_CHECKING:
    from pathlib import Path


def test_a_unix_socket_carries_both_ways_also_at_a_long_path(tmp_path: Path) -> None:
    place = tmp_path / ("d" * 120)
    place.mkdir()
    with socket.socket(socket.AF_UNIX) as backend:
        backend.bind(str(tmp_path / "s"))
        backend.listen()
        with forward_unix(place / "own", tmp_path / "s"):
            client = socket.socket(socket.AF_UNIX)
            (tmp_path / "short").symlink_to(place / "own")
            client.connect(str(tmp_path / "short"))
            accepted, _ = backend.accept()
            with client, accepted:
                client.sendall(b"asked")
                assert accepted.recv(9) == b"asked"
                accepted.sendall(b"told")
                assert client.recv(9) == b"told"


def test_a_connection_that_is_dialled_while_the_block_ends_does_not_keep_it() -> None:
    # A backend that accepts and never closes: seen as a hang at the end of a session.
    dialling, ending = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as backend:

        def dial() -> socket.socket:
            dialling.set()
            ending.wait(10)
            return socket.create_connection(backend.getsockname())

        listener = socket.create_server(("127.0.0.1", 0))
        address = listener.getsockname()

        def serve() -> None:
            with forward(listener, dial), socket.create_connection(address):
                dialling.wait(10)
                threading.Timer(0.3, ending.set).start()

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        serving.join(10)
        assert not serving.is_alive()


class _Listener(socket.socket):
    """A listening socket that keeps what it has accepted."""

    accepted: socket.socket

    def accept(self) -> tuple[socket.socket, object]:
        self.accepted, address = super().accept()
        return self.accepted, address


def test_the_parts_of_a_message_do_not_wait_for_acknowledgements() -> None:
    # tcp(7): without TCP_NODELAY the body of a request waits 40 ms behind its head, both ways.
    dialled: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as backend:

        def dial() -> socket.socket:
            dialled.append(socket.create_connection(backend.getsockname()))
            return dialled[0]

        listener = _Listener()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with forward(listener, dial), socket.create_connection(listener.getsockname()) as client:
            client.sendall(b"asked")
            served, _ = backend.accept()
            with served:
                assert served.recv(9) == b"asked"
                for end in (listener.accepted, *dialled):
                    assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
