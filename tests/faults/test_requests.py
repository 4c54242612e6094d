"""Requests that would cost others: nothing waits for a second, memory stays below 100 MiB more.

The names are those of line 3 of issue 15 and of H-5 and H-7 in reference/reliability.md.
"""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING

import pytest

from tests.faults.conftest import MIB, AttackedSession, OtherClient

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.slow, pytest.mark.privileged]
GIB = 1 << 30


def repeat(pattern: str, count: int) -> str:
    return " ".join(pattern.replace("#", str(number)) for number in range(count))


def query(text: str, **variables: object) -> bytes:
    return json.dumps({"query": text, "variables": variables}).encode()


def chain(call: str, count: int, leaf: str) -> str:
    return "{ container " + f"{{ {call} " * count + f"{{ {leaf} }}" + "}" * (count + 1)


def deep(levels: int) -> bytes:
    return b'{"query": "{ version }", "variables": {"a": ' + b"[" * levels + b"]" * levels + b"}}"


WRITE = 'query($c: String!) { directory { withNewFile(path: "a", contents: $c) { entries } } }'
BODIES: dict[str, tuple[int, Callable[[], bytes]]] = {
    "10000 aliases of an introspection": (
        422,
        lambda: query(f"{{ {repeat('a#: __schema { types { name } }', 10_000)} }}"),
    ),
    "aliases below the limit": (
        200,
        lambda: query("{" + repeat('a#: container { withUser(name: "u#") { id } }', 1990) + "}"),
    ),
    "overlapping fields": (422, lambda: query(f"{{ {'container { id } ' * 5000} }}")),
    "unknown fields": (422, lambda: query(f"{{ {repeat('unknown#', 20_000)} }}")),
    "a few unknown fields": (
        422,
        lambda: query(f"{{ container {{ {repeat('withEnvVariabl#', 2000)} }} }}"),
    ),
    "a chain of 5000": (
        200,
        lambda: query(chain('withEnvVariable(name: "A", value: "b")', 5000, "id")),
    ),
    "json 19000 deep": (400, lambda: deep(19_000)),
    "json 1000000 deep": (400, lambda: deep(1_000_000)),
    "a file of 2 MB": (200, lambda: query(WRITE, c="x" * 2_000_000)),
    "a body at the limit": (200, lambda: query(WRITE, c="x" * (8 * MIB - 200))),
    "wide text": (
        200,
        lambda: json.dumps(
            {"query": WRITE, "variables": {"c": "x" * (4 * MIB - 200) + "\U0001f600"}},
            ensure_ascii=False,
        ).encode(),
    ),
    "a body of 64 MiB": (413, lambda: query(WRITE, c="x" * (64 * MIB))),
}


@pytest.mark.parametrize("name", BODIES)
def test_others_are_answered_and_memory_is_bounded(attacked: AttackedSession, name: str) -> None:
    expected, make = BODIES[name]
    body = make()
    before = attacked.peak()
    with OtherClient(attacked) as other:
        status, _ = attacked.post(body)
    assert status in (expected, 0 if expected == 413 else expected)
    assert other.failures == 0
    assert other.worst < 1.0
    print(f"{other.worst:.2f} s of the session's time, {other.longest:.2f} s")
    assert attacked.peak() - before < 100 * MIB


def test_a_gibibyte_in_chunks_is_not_held(attacked: AttackedSession) -> None:
    piece = b"%x\r\n" % MIB + bytes(MIB) + b"\r\n"
    head = (
        f"POST /query HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {attacked.authorization}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    before = attacked.peak()
    with (
        OtherClient(attacked) as other,
        socket.create_connection(("127.0.0.1", attacked.port)) as stream,
    ):
        stream.sendall(head.encode())
        with contextlib.suppress(ConnectionError):
            for _ in range(GIB // MIB):
                stream.sendall(piece)
    assert other.failures == 0
    assert other.worst < 1.0
    print(f"{other.worst:.2f} s of the session's time, {other.longest:.2f} s")
    assert attacked.peak() - before < 100 * MIB


def test_a_thousand_half_open_connections_do_not_keep_others_waiting(
    attacked: AttackedSession,
) -> None:
    with OtherClient(attacked) as other, contextlib.ExitStack() as stack:
        for _ in range(1000):
            stream = stack.enter_context(socket.create_connection(("127.0.0.1", attacked.port)))
            with contextlib.suppress(ConnectionError):
                stream.sendall(b"POST /query HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    assert other.failures == 0
    assert other.worst < 1.0
    print(f"{other.worst:.2f} s of the session's time, {other.longest:.2f} s")
