"""HTTP by the book, and within limits: of time, of bytes, of connections."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from layerline.engine.api import request_limits as limits
from layerline.engine.api.server import serve_session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import SocketStream

    from layerline.engine.api.session import Session
    from tests.unit.conftest import OpenSession

BODY = b'{"query": "{ version }"}'


@contextlib.asynccontextmanager
async def open_server(open_a_session: OpenSession) -> AsyncIterator[Session]:
    async with open_a_session() as session, serve_session(session):
        yield session


def head(session: Session, *more: str, path: str = "/query", token: str | None = None) -> bytes:
    user = session.main.token if token is None else token
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        "Authorization: Basic " + base64.b64encode(f"{user}:".encode()).decode(),
        *more,
    ]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


async def read_answer(stream: SocketStream) -> tuple[int, bytes]:
    """The status and the rest of an answer, to the end of the connection or of the body."""
    got = b""
    with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
        while b"}]}" not in got and b"}}" not in got:
            got += await stream.receive()
    return int(got.split(b" ", 2)[1]) if got else 0, got


async def send(session: Session, request: bytes) -> tuple[int, bytes]:
    async with await anyio.connect_tcp("127.0.0.1", session.port) as stream:
        await stream.send(request)
        return await read_answer(stream)


async def is_closed(stream: SocketStream) -> bool:
    with anyio.fail_after(5), contextlib.suppress(anyio.BrokenResourceError):
        while True:
            try:
                await stream.receive()
            except anyio.EndOfStream:
                return True
    return True


def plain(session: Session) -> bytes:
    return head(session, f"Content-Length: {len(BODY)}") + BODY


async def test_a_plain_request_is_answered(open_a_session: OpenSession) -> None:
    async with open_server(open_a_session) as session:
        assert (await send(session, plain(session)))[0] == 200


@pytest.mark.parametrize("path", ["/%71uery", "/query/", "//query", "/./query", "/other", "/"])
async def test_only_the_path_itself_is_answered(open_a_session: OpenSession, path: str) -> None:
    """RFC 3986, 6.2.2.2 calls the forms equivalent, but a proxy that filters sees another path."""
    async with open_server(open_a_session) as session:
        request = head(session, f"Content-Length: {len(BODY)}", path=path) + BODY
        status, got = await send(session, request)
        assert status == 404
        assert b"connection: close" in got.lower()


@pytest.mark.parametrize("count", [1, 2, 5, 100])
async def test_a_line_that_ends_in_lf_alone_is_refused(
    open_a_session: OpenSession, count: int
) -> None:
    """RFC 9112, 2.2: the terminator is CRLF; what accepts LF differs from what does not."""
    async with open_server(open_a_session) as session:
        request = head(session, f"Content-Length: {len(BODY)}")
        assert (await send(session, request.replace(b"\r\n", b"\n", count) + BODY))[0] == 400


async def test_lf_in_a_body_is_data(open_a_session: OpenSession) -> None:
    async with open_server(open_a_session) as session:
        body = b'\n{"query":\n"{ version }"}\n\n'
        request = head(session, f"Content-Length: {len(body)}") + body
        assert (await send(session, request))[0] == 200


async def test_a_second_request_on_a_connection_is_as_strict(open_a_session: OpenSession) -> None:
    async with (
        open_server(open_a_session) as session,
        await anyio.connect_tcp("127.0.0.1", session.port) as stream,
    ):
        await stream.send(plain(session) + plain(session).replace(b"\r\n", b"\n"))
        got = b""
        with contextlib.suppress(anyio.EndOfStream):
            while True:
                got += await stream.receive()
        assert re.findall(rb"HTTP/1.1 (\d+)", got) == [b"200", b"400"]


async def test_two_lengths_of_one_body_are_refused(open_a_session: OpenSession) -> None:
    """RFC 9112, 6.3: such a message "ought to be handled as an error"."""
    async with open_server(open_a_session) as session:
        more = (f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked")
        chunked = f"{len(BODY):x}\r\n".encode() + BODY + b"\r\n0\r\n\r\n"
        assert (await send(session, head(session, *more) + chunked))[0] == 400


async def test_a_stranger_gets_an_answer_and_no_connection(open_a_session: OpenSession) -> None:
    async with open_server(open_a_session) as session:
        for body in (BODY, b" " * 300_000):
            request = head(session, f"Content-Length: {len(body)}", token="wrong") + body
            async with await anyio.connect_tcp("127.0.0.1", session.port) as stream:
                await stream.send(request)
                assert (await read_answer(stream))[0] == 401
                assert await is_closed(stream)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_body_is_413(open_a_session: OpenSession, *, chunked: bool) -> None:
    async with open_server(open_a_session) as session:
        size = limits.LARGEST_BODY + 1
        if chunked:
            request = head(session, "Transfer-Encoding: chunked")
            request += f"{size:x}\r\n".encode() + b" " * size + b"\r\n0\r\n\r\n"
        else:
            request = head(session, f"Content-Length: {size}") + b" " * size
        status, got = await send(session, request)
        assert status == 413
        assert str(limits.LARGEST_BODY).encode() in got
        assert (await send(session, plain(session)))[0] == 200


async def test_a_large_length_alone_is_413(open_a_session: OpenSession) -> None:
    async with open_server(open_a_session) as session:
        request = head(session, f"Content-Length: {1 << 60}", "Expect: 100-continue")
        with anyio.fail_after(1):
            assert (await send(session, request))[0] == 413


async def test_text_that_is_four_times_larger_in_memory_counts_so(
    open_a_session: OpenSession,
) -> None:
    async with open_server(open_a_session) as session:
        for last, expected in (("x", 200), ("\u4e2d", 200), ("\U0001f600", 413)):
            text = "{ version } #" + "x" * limits.LARGEST_WIDE_BODY + last
            body = json.dumps({"query": text}, ensure_ascii=False).encode()
            request = head(session, f"Content-Length: {len(body)}") + body
            assert (await send(session, request))[0] == expected


def value(nested: str) -> bytes:
    return f'{{"query": "{{ version }}", "variables": {{"a": {nested}}}}}'.encode()


HOSTILE_JSON: dict[str, Any] = {
    "lists-19000-deep": value("[" * 19_000 + "]" * 19_000),
    "objects-19000-deep": value('{"a":' * 19_000 + "1" + "}" * 19_000),
    "lists-never-closed": value("[" * 150_000),
    "brackets-in-a-string-first": value('["\\"[", ' + "[" * 500 + "]" * 500 + "]"),
    "many-values": value("[" + "{}," * 400_000 + "1]"),
    "many-strings": value("[" + '"",' * 400_000 + "1]"),
    "a-string-never-closed": b'{"query": "' + b'\\"' * 3_000_000,
    "utf-16": '{"query": "{ version }"}'.encode("utf-16"),
    "a-batch": b"[" + b",".join([BODY] * 10_000) + b"]",
    "an-operation-that-is-a-list": b'{"query": "{ version }", "operationName": ["a"]}',
}


@pytest.mark.parametrize("body", HOSTILE_JSON.values(), ids=HOSTILE_JSON.keys())
async def test_hostile_json_is_400_at_once(open_a_session: OpenSession, body: bytes) -> None:
    async with open_server(open_a_session) as session:
        began = time.perf_counter()
        status, _ = await send(session, head(session, f"Content-Length: {len(body)}") + body)
        assert status == 400
        assert time.perf_counter() - began < 2.0


async def test_what_sdks_nest_is_decoded(open_a_session: OpenSession) -> None:
    async with open_server(open_a_session) as session:
        for nested in (
            "[" * 100 + "]" * 100,
            '"' + "[" * 10_000 + '"',
            '"' + '\\"[{,' * 300_000 + '"',
            "[" + "1," * 50_000 + "1]",
        ):
            body = value(nested)
            request = head(session, f"Content-Length: {len(body)}") + body
            assert (await send(session, request))[0] == 200


async def test_a_slow_head_is_ended(
    open_a_session: OpenSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.3)
    async with (
        open_server(open_a_session) as session,
        await anyio.connect_tcp("127.0.0.1", session.port) as stream,
    ):
        for byte in b"POS":
            await stream.send(bytes([byte]))
            await anyio.sleep(0.05)
        with anyio.fail_after(3):
            assert (await read_answer(stream))[0] == 408


async def test_a_slow_second_head_is_ended(
    open_a_session: OpenSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.3)
    async with (
        open_server(open_a_session) as session,
        await anyio.connect_tcp("127.0.0.1", session.port) as stream,
    ):
        await stream.send(plain(session))
        assert (await read_answer(stream))[0] == 200
        await anyio.sleep(0.5)  # An idle connection is kept: SDKs use theirs again.
        await stream.send(plain(session))
        assert (await read_answer(stream))[0] == 200
        await stream.send(b"POST /qu")
        with anyio.fail_after(3):
            assert (await read_answer(stream))[0] == 408


async def test_a_slow_body_is_ended(
    open_a_session: OpenSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(limits, "DRAIN_SECONDS", 0.1)
    async with (
        open_server(open_a_session) as session,
        await anyio.connect_tcp("127.0.0.1", session.port) as stream,
    ):
        await stream.send(head(session, "Content-Length: 1000"))
        with anyio.fail_after(3):
            assert (await read_answer(stream))[0] == 408
            assert await is_closed(stream)


async def test_connections_without_a_head_are_bounded(open_a_session: OpenSession) -> None:
    async with open_server(open_a_session) as session, contextlib.AsyncExitStack() as stack:
        streams = []
        for _ in range(limits.MOST_WAITING + 50):
            stream = await stack.enter_async_context(
                await anyio.connect_tcp("127.0.0.1", session.port)
            )
            await stream.send(b"POST /query HTTP/1.1\r\n")
            streams.append(stream)
        began = time.perf_counter()
        assert (await send(session, plain(session)))[0] == 200
        assert time.perf_counter() - began < 1.0
        assert await is_closed(streams[0])


async def test_a_client_that_leaves_in_its_body_is_no_failure(
    open_a_session: OpenSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        open_server(open_a_session) as session,
        await anyio.connect_tcp("127.0.0.1", session.port) as stream,
    ):
        await stream.send(head(session, "Content-Length: 1000") + b"{")
        assert (await send(session, plain(session)))[0] == 200
        await anyio.sleep(0.1)
    assert not caplog.records
