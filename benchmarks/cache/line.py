"""A slow line: 200 Mbit/s to a network namespace by `tc tbf`, and the delay of a round trip.

This kernel has no netem, so a relay holds back what it passes on for half the round trip each way;
it also counts the bytes.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
from anyio.abc import SocketAttribute
from anyio.from_thread import start_blocking_portal

from layerline import command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from anyio.abc import ByteStream

RATE = "200mbit"
BYTES_PER_SECOND = 200e6 / 8
ROUND_TRIP_SECONDS = 0.020
# Of the range for benchmarks, RFC 2544.
NEAR, _FAR, _BITS = "198.18.77.1", "198.18.77.2", 30
_GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)
_CHUNK = 64 << 10
_HELD = 64  # chunks that may wait in the relay for one connection: the line carries 4 in the delay


@dataclass(slots=True, kw_only=True)
class Line:
    """The near end of a line. `up` and `down` are the bytes that it has carried."""

    address: str
    up: int = 0
    down: int = 0


@contextlib.contextmanager
def far_side() -> Iterator[Sequence[str]]:
    """A network namespace behind the rate limit: the words that run a program in it."""
    name = f"layerline-far-{os.getpid()}"
    near, far = f"llnear{os.getpid() % 10**6}", f"llfar{os.getpid() % 10**6}"
    inside = ("ip", "netns", "exec", name)
    shape = ("root", "tbf", "rate", RATE, "burst", "256kb", "latency", "200ms")
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        _run("ip", "address", "add", f"{NEAR}/{_BITS}", "dev", near)
        _run("ip", "link", "set", near, "up")
        for words in (
            ("address", "add", f"{_FAR}/{_BITS}", "dev", far),
            ("link", "set", far, "up"),
            ("link", "set", "lo", "up"),
        ):
            _run(*inside, "ip", *words)
        _run("tc", "qdisc", "add", "dev", near, *shape)
        _run(*inside, "tc", "qdisc", "add", "dev", far, *shape)
        yield inside
    finally:
        _run("ip", "netns", "delete", name)  # its end of the pair goes, and so does the other


def far_address(port: int) -> str:
    """Where a server listens at the far side."""
    return f"{_FAR}:{port}"


@contextlib.contextmanager
def relayed(target: str) -> Iterator[Line]:
    """A line to a far address, with its delay, from a port of its near end.

    On the loopback clients would take the registry for one without TLS.
    """
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_relay(target)) as line,
    ):
        yield line


@contextlib.asynccontextmanager
async def _relay(target: str) -> AsyncIterator[Line]:
    host, port = target.rsplit(":", 1)
    listener = await anyio.create_tcp_listener(local_host=NEAR)
    line = Line(address=f"{NEAR}:{listener.extra(SocketAttribute.local_port)}")

    def sent(size: int) -> None:
        line.up += size

    def received(size: int) -> None:
        line.down += size

    async def connect(near: ByteStream) -> None:
        with contextlib.suppress(*_GONE):
            async with (
                near,
                await anyio.connect_tcp(host, int(port)) as far,
                anyio.create_task_group() as both,
            ):
                both.start_soon(_carry, near, far, sent)
                both.start_soon(_carry, far, near, received)

    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, connect)
        yield line
        group.cancel_scope.cancel()


async def _carry(source: ByteStream, sink: ByteStream, count: Callable[[int], None]) -> None:
    """Pass on what one side sends, half a round trip later."""
    put, get = anyio.create_memory_object_stream[tuple[float, bytes]](_HELD)

    async def take() -> None:
        async with put:
            with contextlib.suppress(*_GONE):
                while True:
                    chunk = await source.receive(_CHUNK)
                    await put.send((anyio.current_time() + ROUND_TRIP_SECONDS / 2, chunk))

    async def give() -> None:
        with contextlib.suppress(*_GONE):
            async for due, chunk in get:
                await anyio.sleep_until(due)
                await sink.send(chunk)
                count(len(chunk))
            await sink.send_eof()

    async with anyio.create_task_group() as group:
        group.start_soon(take)
        group.start_soon(give)


def _run(*words: str) -> None:
    command.run(list(words))
