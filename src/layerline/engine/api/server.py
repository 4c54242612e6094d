"""The session server.

HTTP on a loopback port; every request needs the token, and browsers are rejected. A client that
disconnects cancels its query; steps that others wait for go on.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - uvicorn's servers are asyncio's
import base64
import binascii
import contextlib
import functools
import hmac
import itertools
import json
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

import anyio
import anyio.from_thread
import anyio.to_thread
import uvicorn
from anyio.lowlevel import checkpoint, current_token
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from layerline.engine.api import introspection, spans
from layerline.engine.api import request_limits as limits
from layerline.engine.api.answer_body import encode
from layerline.engine.api.execute import answer
from layerline.engine.api.http_protocol import SessionProtocol, WaitingConnections
from layerline.engine.api.request_body import RequestBody, RequestRefused
from layerline.engine.api.schema import served_schema
from layerline.errors import QueryError
from layerline.log import parts_of

if TYPE_CHECKING:
    from asyncio import AbstractServer  # noqa: TID251 - as above
    from collections.abc import AsyncIterator, Callable, Iterator

    from anyio.lowlevel import EventLoopToken
    from starlette.types import ASGIApp, Receive, Scope, Send

    from layerline.engine.api.execute import Answer
    from layerline.engine.api.session import Client, Session

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_QUERIES = b"/query"
_SPANS = spans.PATH.encode()
_MEDIA_TYPES = {_QUERIES: "application/json", _SPANS: spans.MEDIA_TYPE}
_CLOSE = {"Connection": "close"}
_REALM = {"WWW-Authenticate": 'Basic realm="Access to the Layerline session"'}


@contextlib.asynccontextmanager
async def serve_session(session: Session) -> AsyncIterator[int]:
    """Serve a session; yields the port, which is also in `session.port`."""
    # With the protocol named, asyncio turns Nagle's algorithm off: it costs 40 ms an answer.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        session.port = listener.getsockname()[1]
        server = _Server(_configuration(session))
        async with anyio.create_task_group() as group:
            group.start_soon(_serve, server, listener)
            await server.ready.wait()
            listener.listen(limits.MOST_QUEUED)  # The event loop set its own, smaller one.
            session.serve = functools.partial(server.serve_from_thread, current_token())
            # Build the schema while the first client starts: its first query needs it.
            group.start_soon(anyio.to_thread.run_sync, served_schema)
            try:
                yield session.port
            finally:
                server.close()
                group.cancel_scope.cancel()


def _configuration(session: Session) -> uvicorn.Config:
    protocol = functools.partial(SessionProtocol, waiting=WaitingConnections())
    return uvicorn.Config(
        _application(session),
        http=cast("type[SessionProtocol]", protocol),
        ws="none",
        backlog=limits.ACCEPTED_TOGETHER,
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        lifespan="off",
        timeout_keep_alive=limits.KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=1,
    )


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

    @contextlib.contextmanager
    def serve_from_thread(self, token: EventLoopToken, listener: socket.socket) -> Iterator[None]:
        """Serve what connects to a further socket; for a thread, while the loop of `token` runs."""
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        further = _FurtherListener(server=self, socket=listener)
        anyio.from_thread.run(further.open, token=token)
        try:
            yield
        finally:
            anyio.from_thread.run(further.close, token=token)

    def close(self) -> None:
        """Stop listening and leave the clients; uvicorn's own way waits for its next tick."""
        for listening in self.servers:
            listening.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(slots=True, kw_only=True, eq=False)
class _FurtherListener:
    """A socket that a server listens on in addition to its own, and its connections."""

    server: _Server
    socket: socket.socket
    _listening: AbstractServer | None = None
    _connections: WeakSet[SessionProtocol] = field(default_factory=WeakSet)

    async def open(self) -> None:
        """Listen. Nobody is cancelled: a socket that listens has to be closed."""
        with anyio.CancelScope(shield=True):
            loop = asyncio.get_running_loop()
            backlog = limits.ACCEPTED_TOGETHER
            self._listening = await loop.create_server(
                self._connect, sock=self.socket, backlog=backlog
            )

    async def close(self) -> None:
        """Listen no more and end the connections: the socket's network may be used again."""
        assert self._listening is not None
        self._listening.close()
        alive = self.server.server_state.connections
        for each in [each for each in self._connections if each in alive]:
            each.abort()
        with anyio.CancelScope(shield=True):
            await checkpoint()  # The loop closes their sockets in its next turn.

    def _connect(self) -> SessionProtocol:
        server = self.server
        protocol = cast("Callable[..., SessionProtocol]", server.config.http_protocol_class)
        made = protocol(
            config=server.config,
            server_state=server.server_state,
            app_state=server.lifespan.state,
        )
        self._connections.add(made)
        return made


def _application(session: Session) -> ASGIApp:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        response = await respond(Request(scope, receive))
        await response(scope, receive, send)

    async def respond(request: Request) -> Response:
        client = _client(session, request)
        body = RequestBody(request)
        if problem := _reject(request, client):
            await body.drain()
            return problem
        known = cast("Client", client)
        try:
            if request.scope["raw_path"] == _SPANS:
                return await _take_spans(known, body)
            document = await body.document()
        except RequestRefused as exc:
            await body.drain()
            return _error_response(exc.status, str(exc), headers=_CLOSE)
        except QueryError as exc:
            return _error_response(400, str(exc))
        with parts_of(known.step_of(request.headers.get("traceparent", ""))):
            return await _answer(session, known, request, document)

    return application


async def _take_spans(client: Client, body: RequestBody) -> Response:
    """Show a batch of spans; a client whose spans nobody asked for is answered all the same."""
    batch = await body.read()
    if client.spans is not None:
        await anyio.to_thread.run_sync(client.spans.take, bytes(batch))
    return Response(b"", media_type=spans.MEDIA_TYPE)


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
            more = client.schema[0] if client.schema else ""
            known = introspection.recall(session.store.index, document, more=more)
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
            if got.about_schema:
                body = b"".join(encode(got.body))
                introspection.remember(session.store.index, document, got, body, more=more)
            done.append(_respond_in_pieces(got))
            group.cancel_scope.cancel()

        group.start_soon(watch)
        group.start_soon(work)
    return done[0] if done else _error_response(499, "the client disconnected")


def _respond_in_pieces(got: Answer) -> Response:
    pieces = list(itertools.islice(encoded := encode(got.body), 2))
    if len(pieces) == 1:
        return Response(pieces[0], status_code=got.status, media_type="application/json")

    async def content() -> AsyncIterator[bytes | memoryview]:
        for piece in itertools.chain(pieces, encoded):
            yield piece

    return StreamingResponse(content(), status_code=got.status, media_type="application/json")


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


def _reject(request: Request, client: Client | None) -> Response | None:
    """Reject a stranger, and what a web page could send: a host name, an origin, a form, a GET.

    Each of these answers closes the connection, so only clients of the session keep theirs.
    """
    path = request.scope["raw_path"]  # Not decoded: a proxy decides by this form.
    if path not in _MEDIA_TYPES:
        return _error_response(404, "not found: send queries to /query", headers=_CLOSE)
    if client is None:
        headers = {**_REALM, **_CLOSE}
        return _error_response(401, "a valid session token is required", headers=headers)
    host = request.headers.get("host", "").rsplit(":", 1)[0]
    if host not in _LOOPBACK or "origin" in request.headers:
        message = "the session answers to loopback addresses only"
        return _error_response(403, message, headers=_CLOSE)
    if request.method != "POST":
        return _error_response(405, "invalid method: send queries with POST", headers=_CLOSE)
    expected = _MEDIA_TYPES[path]
    if request.headers.get("content-type", "").partition(";")[0].strip() != expected:
        what = "queries" if path == _QUERIES else "spans"
        message = f"invalid content type: send {what} as {expected}"
        return _error_response(415, message, headers=_CLOSE)
    return None


def _error_response(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps({"errors": [{"message": message}]})
    return Response(body, status_code=status, media_type="application/json", headers=headers)
