"""HTTP/1.1 for the session, by the book and with deadlines: what uvicorn's own settings lack.

uvicorn bounds the size of a head (`h11_max_incomplete_event_size`) and the idle time between two
requests (`timeout_keep_alive`), but neither how long a head may take nor how many connections may
wait for one.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from layerline.engine.api import request_limits as limits

if TYPE_CHECKING:
    import asyncio  # noqa: TID251 - uvicorn's protocols are asyncio's

_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_END_OF_HEAD = re.compile(rb"\n\r?\n")


class WaitingConnections:
    """The connections of one server that have never sent a complete head, oldest first."""

    def __init__(self) -> None:
        self._connections: OrderedDict[SessionProtocol, None] = OrderedDict()

    def add(self, connection: SessionProtocol) -> None:
        """Take a new connection; the oldest is closed if there are too many."""
        self._connections[connection] = None
        if len(self._connections) > limits.MOST_WAITING:
            oldest, _ = self._connections.popitem(last=False)
            oldest.abort()

    def discard(self, connection: SessionProtocol) -> None:
        """Forget a connection, which has sent a head or is closed."""
        self._connections.pop(connection, None)


class SessionProtocol(H11Protocol):
    """One connection. A head that is late is answered with 408, and a malformed one with 400."""

    def __init__(self, *args: Any, waiting: WaitingConnections, **options: Any) -> None:
        super().__init__(*args, **options)
        self.conn = _StrictConnection(h11.SERVER, limits.LARGEST_HEAD)
        self._waiting = waiting
        self._is_new = True
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._waiting.add(self)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._waiting.discard(self)
        self._end_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_head()

    def abort(self) -> None:
        """Close the connection without an answer."""
        self.transport.abort()

    def _watch_head(self) -> None:
        """Start the deadline of a head that has begun; end it when the head is complete."""
        if self.conn.their_state is not h11.IDLE:
            self._is_new = False
            self._waiting.discard(self)
            self._end_deadline()
            return
        begun = self._is_new or bool(self.conn.trailing_data[0])
        if begun and self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(limits.HEAD_SECONDS, self._end_late)

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end_late(self) -> None:
        if not self.transport.is_closing():
            answer = h11.Response(status_code=408, headers=[(b"connection", b"close")])
            for event in (answer, h11.EndOfMessage()):
                self.transport.write(self.conn.send(event))
            self.transport.close()


class _StrictConnection(h11.Connection):
    """A connection that refuses what two readers may read differently (request smuggling).

    A line that ends in LF alone, which RFC 9112, 2.2 permits to recognize and does not ask for, and
    two lengths of one body, which 6.3 says ought to be handled as an error.
    """

    def next_event(self) -> Any:
        if self.their_state is h11.IDLE:
            received, _ = self.trailing_data
            end = _END_OF_HEAD.search(received)
            bare = _BARE_LINE_FEED.search(received)
            if bare is not None and (end is None or bare.start() < end.end()):
                message = "a line of the head ends in LF without CR"
                raise h11.RemoteProtocolError(message)
        event = super().next_event()
        if isinstance(event, h11.Request):
            names = {name for name, _ in event.headers}
            if {b"content-length", b"transfer-encoding"} <= names:
                message = "the request has both Content-Length and Transfer-Encoding"
                raise h11.RemoteProtocolError(message)
        return event
