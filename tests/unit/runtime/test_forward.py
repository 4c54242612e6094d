"""Forwarding ends with its block, whatever is under way."""

from __future__ import annotations

import socket
import threading

from layerline.engine.runtime.forward import forward


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
