"""What a container finds on its own loopback interface.

A port of the host's is carried to it. What this process serves itself gets the listening socket: a
connection is then one of its own, without threads that copy what passes.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from layerline.engine.runtime.forward import forward
from layerline.engine.runtime.network import listen_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layerline.engine.runtime.spec import ContainerSpec

_ADDRESS = "127.0.0.1"


@contextmanager
def open_loopback(namespace: Path, spec: ContainerSpec) -> Iterator[None]:
    """The ports of a container in its network namespace, until the context ends."""
    with ExitStack() as stack:
        for port in spec.loopback:
            listener = listen_in(namespace, port, address=_ADDRESS)
            dial = partial(socket.create_connection, (_ADDRESS, port))
            stack.enter_context(forward(listener, dial))
        for port, serve in spec.served:
            stack.enter_context(serve(listen_in(namespace, port, address=_ADDRESS)))
        yield
