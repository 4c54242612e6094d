"""Connections with the bounds that uvicorn's own lack, where they cost next to nothing.

What uvicorn bounds is how long a connection may idle between requests, but not how long the head of
a request may take, nor how many connections there are.
"""

from asyncio import TimerHandle, Transport  # noqa: TID251 - uvicorn's connections are asyncio's
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from ct_scan_mlops.web.admission import RETRY_AFTER_SECONDS

MOST_CONNECTIONS: Final = 2000
# asyncio takes 256 KiB from a socket at once, before any layer has a say: a quarter of a gigabyte
# when a thousand clients begin to send at the same moment.
RECEIVE_BYTES: Final = 16 * 1024


def _response(status: str, error: str, what_next: str) -> bytes:
    body = f'{{"error": "{error}", "what next": "{what_next}"}}'
    head = (
        f"HTTP/1.1 {status}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        f"retry-after: {RETRY_AFTER_SECONDS}",
        "connection: close",
    )
    return "\r\n".join((*head, "", body)).encode()


NOT_HTTP: Final = _response(
    "400 Bad Request", "This is no HTTP request, or its head is too large.", "Send HTTP/1.1."
)
TOO_SLOW: Final = _response(
    "408 Request Timeout", "The head of the request did not arrive in time.", "Send it at once."
)
TOO_MANY: Final = _response(
    "503 Service Unavailable",
    "All places are taken.",
    f"Try again after {RETRY_AFTER_SECONDS} s, with fewer requests at the same time.",
)


class BoundedConnection(H11Protocol):
    """A connection that shows each request in time, or is closed."""

    head_seconds = 10.0
    linger_seconds = 5.0
    _timer: TimerHandle | None = None
    _lingering = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.max_size = RECEIVE_BYTES  # type: ignore[attr-defined]
        if len(self.connections) > MOST_CONNECTIONS:
            self._refuse(TOO_MANY)
        else:
            self._expect_head()

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            return
        if self.is_one_too_many(data):
            self._refuse(TOO_MANY)
            return
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._stop_timer()
        elif self._timer is None:
            self._expect_head()

    def send_400_response(self, msg: str) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete:
            self._refuse(NOT_HTTP)
        else:
            super().send_400_response(msg)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def is_one_too_many(self, data: bytes) -> bool:
        """Whether what begins with these bytes is refused unread; for a service to say."""
        del data
        return False

    def _expect_head(self) -> None:
        self._timer = self.loop.call_later(self.head_seconds, self._refuse, TOO_SLOW)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, response: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(response)
            self._linger()

    def _linger(self) -> None:
        """Say that this was all, and throw away what still comes.

        Closing while the client sends would reset the connection, and the answer with it.
        """
        self._stop_timer()
        self._unset_keepalive_if_required()
        self._lingering = True
        self.transport.write_eof()
        self._timer = self.loop.call_later(self.linger_seconds, self.transport.close)
