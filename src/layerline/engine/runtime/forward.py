"""Forwarding of connections from a listening socket to wherever they belong.

Invariant: when the context ends, no connection and no thread of it is left.
"""

from __future__ import annotations

import functools
import os
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from layerline import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PIECE = 1 << 16


class _Connections:
    """The sockets and threads that are under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def run(self, action: Callable[[], None]) -> None:
        thread = threading.Thread(target=action, name="forward", daemon=True)
        with self._lock:
            self._threads = [each for each in self._threads if each.is_alive()]
            self._threads.append(thread)
        thread.start()

    def carry(self, accepted: socket.socket, dial: Callable[[], socket.socket]) -> None:
        """Copy both ways until both ends are closed."""
        with accepted:
            try:
                other = dial()
            except OSError as exc:
                log.debug("a forwarded connection found nobody: %s", exc)
                return
            with other:
                pair = {accepted, other}
                for each in pair:
                    _send_at_once(each)
                with self._lock:
                    if self._closed:  # while this was dialling: nobody would shut these down
                        return
                    self._sockets |= pair
                back = threading.Thread(target=_copy, args=(other, accepted), daemon=True)
                back.start()
                _copy(accepted, other)
                back.join()
                with self._lock:
                    self._sockets -= pair

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for each in self._sockets:
                with suppress(OSError):  # the other side may have closed it
                    each.shutdown(socket.SHUT_RDWR)
            threads = self._threads
        for thread in threads:
            thread.join()


@contextmanager
def forward(listener: socket.socket, dial: Callable[[], socket.socket]) -> Iterator[None]:
    """Carry what comes to `listener`, which is closed at the end, to what `dial` connects to."""
    connections = _Connections()

    def accept() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:  # shut down below
                return
            connections.run(functools.partial(connections.carry, accepted, dial))

    acceptor = threading.Thread(target=accept, name="accept", daemon=True)
    acceptor.start()
    try:
        yield
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        acceptor.join()
        listener.close()
        connections.close()


@contextmanager
def forward_unix(path: Path, target: Path) -> Iterator[None]:
    """Create a unix socket at `path`, and carry what comes there to the socket `target`."""
    listener = socket.socket(socket.AF_UNIX)
    with _reachable(path.parent) as directory:
        listener.bind(f"{directory}/{path.name}")
        listener.listen()

    def dial() -> socket.socket:
        other = socket.socket(socket.AF_UNIX)
        try:
            with _reachable(target) as place:
                other.connect(place)
        except OSError:
            other.close()
            raise
        return other

    with forward(listener, dial):
        yield


@contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """A path that is short enough for the address of a socket, unix(7)."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _send_at_once(connection: socket.socket) -> None:
    """Turn Nagle's algorithm off, as the programs at both ends do (tcp(7), TCP_NODELAY).

    Otherwise the second piece of a message waits for the acknowledgement of the first, 40 ms.
    """
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):  # a reset on either side ends the connection
        while data := source.recv(_PIECE):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
