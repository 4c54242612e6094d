"""How much of a body is taken in, and for how long."""

import anyio
import pytest
from starlette.types import Message, Receive, Scope, Send

from ct_scan_mlops.web.bodies import BoundedBodies
from ct_scan_mlops.web.problems import BodyTooLarge, BodyTooSlow

MOST = 1000


async def reads_all(_: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


async def reads_nothing(_: Scope, receive: Receive, send: Send) -> None:
    del receive
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"no"})


def exchange(app: object, pieces: list[int], *, pause: float = 0, **headers: str) -> list[Message]:
    """What the server is given to send, for a body of these pieces."""
    sent: list[Message] = []
    coming = iter(pieces)
    left = len(pieces)

    async def receive() -> Message:
        nonlocal left
        await anyio.sleep(pause)
        left -= 1
        return {"type": "http.request", "body": bytes(next(coming)), "more_body": left > 0}

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        raw = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
        bounded = BoundedBodies(app, most_bytes=MOST, seconds=0.2, smaller="x")  # type: ignore[arg-type]
        await bounded({"type": "http", "headers": raw}, receive, send)
        sent.append({"left": left})

    anyio.run(run)
    return sent


def test_a_body_up_to_the_limit_passes() -> None:
    assert exchange(reads_all, [400, 600])[0]["status"] == 200


def test_a_chunked_body_is_counted_as_it_comes() -> None:
    with pytest.raises(BodyTooLarge):
        exchange(reads_all, [400, 601, 10**6], transfer_encoding="chunked")


def test_a_false_length_does_not_help() -> None:
    with pytest.raises(BodyTooLarge):
        exchange(reads_all, [1001, 1], content_length="10")


def test_a_declared_length_above_the_limit_is_refused_unread() -> None:
    start, body, *_ = exchange(reads_all, [1], content_length=str(MOST + 1))
    assert start["status"] == 413
    assert b"what next" in body["body"]


def test_a_slow_body_is_given_up() -> None:
    with pytest.raises(BodyTooSlow):
        exchange(reads_all, [1] * 100, pause=0.05)


def test_after_an_early_answer_the_rest_is_thrown_away_and_the_connection_closed() -> None:
    start, body, end, after = exchange(reads_nothing, [400, 400, 1])
    assert (b"connection", b"close") in start["headers"]
    assert (body["body"], body["more_body"]) == (b"no", True)
    assert "more_body" not in end
    assert after["left"] == 0


def test_what_is_thrown_away_has_a_limit_too() -> None:
    *_, after = exchange(reads_nothing, [400] * 100)
    assert after["left"] > 90
