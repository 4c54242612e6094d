"""Runs an application in this process until it is told to end."""

import logging

import uvicorn
from fastapi import FastAPI

from ct_scan_mlops.web.connections import BoundedConnection


def run(
    app: FastAPI, *, host: str, port: int, connection: type[BoundedConnection], grace_seconds: int
) -> None:
    """Serve; requests that have begun when it is told to end have `grace_seconds` left."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s:     %(message)s")
    uvicorn.run(
        app,
        host=host,
        port=port,
        loop="asyncio",
        http=connection,
        ws="none",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=grace_seconds,
    )
