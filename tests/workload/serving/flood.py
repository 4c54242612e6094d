"""Sends many uploads at the same moment and prints the status of each answer."""

import os
import sys
from pathlib import Path

import anyio

BOUNDARY = b"boundary"
PIECE = 65536
OPENING = b'--%b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n' % BOUNDARY
CLOSING = b"\r\n--%b--\r\n" % BOUNDARY


async def upload(port: int, body: bytes, start: anyio.Event, statuses: list[str]) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n" % len(body)
    head += b"Content-Type: multipart/form-data; boundary=%b\r\n\r\n" % BOUNDARY
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await start.wait()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_send, stream, head, body)
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += await stream.receive()
            statuses.append(_status(answer))
            tasks.cancel_scope.cancel()


def _status(answer: bytes) -> str:
    """A refusal for want of a place has to say when to come back."""
    status = answer.split(maxsplit=2)[1].decode()
    silent = status == "503" and b"\r\nretry-after: " not in answer.lower()
    return f"{status} without Retry-After" if silent else status


async def _send(stream: anyio.abc.ByteSendStream, head: bytes, data: bytes) -> None:
    try:
        await stream.send(head)
        for start in range(0, len(data), PIECE):
            await stream.send(data[start : start + PIECE])
    except anyio.BrokenResourceError:
        # It was answered before all of it was sent.
        return


async def main(port: int, count: int, path: str) -> None:
    body = OPENING + await anyio.Path(path).read_bytes() + CLOSING
    start = anyio.Event()
    statuses: list[str] = []
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(upload, port, body, start, statuses)
        await anyio.sleep(1)
        start.set()
    print("\n".join(statuses))


if __name__ == "__main__":
    # It stands for other machines, and should not take the service's share of this one.
    os.nice(15)
    anyio.run(main, int(sys.argv[1]), int(sys.argv[2]), str(Path(sys.argv[3])))
