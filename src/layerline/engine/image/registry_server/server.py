"""A registry's application on a port, in a thread of its own."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn

from layerline.engine.image.registry_server.application import RegistryApplication
from layerline.engine.image.registry_server.named_images import NamedImages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import ASGIApp

    from layerline.engine.image.registry.credentials import Login

LOOPBACK = "127.0.0.1"
_BACKLOG = 128
_MOST_CONNECTIONS = 256
_SECONDS_TO_END = 1


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A server's certificate with its chain, and its key, both in PEM."""

    certificate: Path
    key: Path


@contextlib.contextmanager
def serve_registry(
    application: ASGIApp, *, host: str = LOOPBACK, port: int = 0, tls: TlsFiles | None = None
) -> Iterator[int]:
    """Serve for the length of the block; yields the port. Raises OSError if it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio turns Nagle's algorithm off.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)  # who connects from here on is answered
        server = uvicorn.Server(_configuration(application, tls))
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="registry", daemon=True
        )
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def _configuration(application: ASGIApp, tls: TlsFiles | None) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        loop="asyncio",
        http="h11",
        ws="none",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        lifespan="off",
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_SECONDS_TO_END,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )


def serve_images(
    root: Path, *, login: Login, host: str, port: int, tls: TlsFiles | None = None
) -> contextlib.AbstractContextManager[int]:
    """Serve the named images of a store to those who know the login; see `serve_registry`."""
    application = RegistryApplication(catalog=NamedImages(root), login=login)
    return serve_registry(application, host=host, port=port, tls=tls)
