"""The session server.

HTTP on a loopback port; every request needs the token, and browsers are rejected. A client that
disconnects cancels its query; steps that others wait for go on.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import json
import socket
import sys
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from layerline.engine.api import introspection
from layerline.engine.api.execute import answer
from layerline.engine.api.schema import served_schema
from layerline.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request

    from layerline.engine.api.session import Client, Session

MAX_BODY = 256 * 1024 * 1024
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_REALM = {"WWW-Authenticate": 'Basic realm="Access to the Layerline session"'}
_DEEPEST_QUERY = 20_000


@contextlib.asynccontextmanager
async def serve_session(session: Session) -> AsyncIterator[int]:
    """Serve a session; yields the port, which is also in `session.port`."""
    sys.setrecursionlimit(max(sys.getrecursionlimit(), _DEEPEST_QUERY))
    # With the protocol named, asyncio turns Nagle's algorithm off: it costs 40 ms an answer.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        session.port = listener.getsockname()[1]
        session.solver.context.nested.update(session.environ(session.nested))
        server = _Server(
            uvicorn.Config(
                _application(session),
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_keep_alive=300,
                timeout_graceful_shutdown=1,
            )
        )
        async with anyio.create_task_group() as group:
            group.start_soon(_serve, server, listener)
            await server.ready.wait()
            # Build the schema while the first client starts: its first query needs it.
            group.start_soon(anyio.to_thread.run_sync, served_schema)
            try:
                yield session.port
            finally:
                server.close()
                group.cancel_scope.cancel()


async def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    await server.serve(sockets=[listener])


class _Server(uvicorn.Server):
    """A server that leaves signals to the command line, and sets `ready` when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    def close(self) -> None:
        """Stop listening and leave the clients; uvicorn's own way waits for its next tick."""
        for listening in self.servers:
            listening.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _application(session: Session) -> Starlette:
    async def query(request: Request) -> Response:
        client = _client(session, request)
        if client is None:
            return _error_response(401, "a valid session token is required", headers=_REALM)
        if problem := _reject_browser(request):
            return problem
        try:
            document = await _document(request)
        except QueryError as exc:
            return _error_response(400, str(exc))
        return await _answer(session, client, request, document)

    return Starlette(routes=[Route("/query", query, methods=["GET", "POST"])])


async def _answer(
    session: Session, client: Client, request: Request, document: dict[str, Any]
) -> Response:
    """Answer a query; a client that disconnects cancels it."""
    done: list[Response] = []
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        async def work() -> None:
            known = introspection.recall(session.store.index, document)
            if known is not None:
                done.append(Response(known, media_type="application/json"))
                group.cancel_scope.cancel()
                return
            got = await answer(
                document["query"],
                session.call(client),
                variables=document.get("variables"),
                operation=document.get("operationName"),
            )
            if got.failure is not None:
                client.failure = got.failure
            body = json.dumps(got.body, ensure_ascii=False).encode(errors="replace")
            introspection.remember(session.store.index, document, got, body)
            done.append(Response(body, status_code=got.status, media_type="application/json"))
            group.cancel_scope.cancel()

        group.start_soon(watch)
        group.start_soon(work)
    return done[0] if done else _error_response(499, "the client disconnected")


def _client(session: Session, request: Request) -> Client | None:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        token = base64.b64decode(encoded, validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return None
    for known, client in session.clients.items():
        if hmac.compare_digest(known.encode(), token.encode()):
            return client
    return None


def _reject_browser(request: Request) -> Response | None:
    """Reject what a web page could send: another host name, an origin, a form, a plain GET."""
    host = request.headers.get("host", "").rsplit(":", 1)[0]
    if host not in _LOOPBACK or "origin" in request.headers:
        return _error_response(403, "the session answers to loopback addresses only")
    if request.method != "POST":
        return _error_response(405, "invalid method: send queries with POST")
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return _error_response(415, "invalid content type: send queries as application/json")
    return None


async def _document(request: Request) -> dict[str, Any]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            message = f"the request is larger than {MAX_BODY} bytes"
            raise QueryError(message)
    try:
        document = json.loads(bytes(body))
    except ValueError as exc:
        message = f"json request body could not be decoded: {exc}"
        raise QueryError(message) from exc
    if not isinstance(document, dict) or not isinstance(document.setdefault("query", ""), str):
        message = "json request body could not be decoded: it holds no query"
        raise QueryError(message)
    if not isinstance(document.get("variables") or {}, dict):
        message = "variables must be an object"
        raise QueryError(message)
    return document


def _error_response(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps({"errors": [{"message": message}]})
    return Response(body, status_code=status, media_type="application/json", headers=headers)
