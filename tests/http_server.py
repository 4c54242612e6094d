"""HTTP servers of tests: one that answers in a thread, and one of the files in a directory."""

from __future__ import annotations

import contextlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import HTTPServer
    from pathlib import Path


@contextlib.contextmanager
def running(server: HTTPServer) -> Iterator[int]:
    """Have a server answer until the end of the block; yields its port."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def serving_files(place: Path) -> Iterator[str]:
    """Serve the files of a directory on the loopback; yields host and port."""
    handler = partial(_Quiet, directory=str(place))
    with running(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as port:
        yield f"127.0.0.1:{port}"


class _Quiet(SimpleHTTPRequestHandler):
    """Files without a log."""

    def log_message(self, *_args: object) -> None:
        """Say nothing."""
