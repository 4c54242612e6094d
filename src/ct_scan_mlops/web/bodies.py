"""A bound on how much of a request's body is taken in, and for how long.

Bytes are counted as they arrive, so that neither a chunked body nor a false Content-Length passes;
what is over the limit is never kept. When the answer is there before the whole body is, the rest is
read and thrown away for a moment: closing at once would reset the connection, and the client, which
is still sending, would not see the answer.
"""

from dataclasses import KW_ONLY, dataclass

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ct_scan_mlops.web.problems import BodyTooLarge, BodyTooSlow

LINGER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class BoundedBodies:
    """The layer in front of everything that reads bodies; `smaller` says how to get below."""

    app: ASGIApp
    _: KW_ONLY
    most_bytes: int
    seconds: float
    smaller: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _Body(bounds=self, receive=receive, send=send)
        declared = declared_length(scope)
        if declared is not None and declared > self.most_bytes:
            await body.too_large().response()(scope, body.read, body.answer)
            return
        await self.app(scope, body.read, body.answer)


def declared_length(scope: Scope) -> int | None:
    """The Content-Length; a server that speaks HTTP has refused one that is no number."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None


@dataclass(slots=True, kw_only=True)
class _Body:
    """One request's body, from its first byte to the end of the answer."""

    bounds: BoundedBodies
    receive: Receive
    send: Send
    taken: int = 0
    complete: bool = False
    deadline: float | None = None

    def too_large(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"The request is larger than {self.bounds.most_bytes:,} bytes, and was not read.",
            self.bounds.smaller,
        )

    async def read(self) -> Message:
        if self.complete:
            return await self.receive()
        message = await self._next_message()
        if self.taken > self.bounds.most_bytes:
            raise self.too_large()
        return message

    async def _next_message(self) -> Message:
        if self.deadline is None:
            self.deadline = anyio.current_time() + self.bounds.seconds
        try:
            with anyio.fail_after(self.deadline - anyio.current_time()):
                message = await self.receive()
        except TimeoutError as exc:
            error = f"The body did not arrive within {self.bounds.seconds:g} seconds."
            raise BodyTooSlow(error, "Send it again over a faster connection.") from exc
        self.taken += len(message.get("body", b""))
        self.complete = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def answer(self, message: Message) -> None:
        if self.complete:
            await self.send(message)
        elif message["type"] == "http.response.start":
            close = (b"connection", b"close")
            await self.send({**message, "headers": [*message["headers"], close]})
        elif message.get("more_body", False):
            await self.send(message)
        else:
            await self.send({**message, "more_body": True})
            await self._throw_away_the_rest()
            await self.send({"type": "http.response.body", "body": b""})

    async def _throw_away_the_rest(self) -> None:
        most = self.taken + self.bounds.most_bytes
        with anyio.move_on_after(LINGER_SECONDS):
            while not self.complete and self.taken <= most:
                message = await self.receive()
                self.taken += len(message.get("body", b""))
                self.complete = not message.get("more_body", False)
