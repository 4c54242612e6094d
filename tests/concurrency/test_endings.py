"""Calls that are interrupted or killed leave no container, service or unfinished file behind."""

from __future__ import annotations

import json
import signal
import socket
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.cli.test_interactive import address

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerline import command
    from tests.concurrency.conftest import Connect
    from tests.conftest import CommandLine

pytestmark = pytest.mark.privileged

SOON = 2.0
LONGEST_SECONDS = 60.0


def running(mark: str) -> list[int]:
    """The processes whose command line holds a text that only they have, by number."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark.encode() in words:
            found.append(int(place.name))
    return found


def until(holds: Callable[[], object], seconds: float) -> float:
    """The seconds until it holds."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds
        time.sleep(0.02)
    return time.monotonic() - began


def sleeper(mark: str) -> tuple[str, ...]:
    return (
        *("core", "container", "from", "--address=debian:bookworm-slim"),
        *("with-exec", f"--args=sh,-c,trap '' TERM INT; sleep 1000,{mark}", "stdout"),
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_ended_call_stops_its_containers(
    command_line: CommandLine, number: signal.Signals
) -> None:
    command_line.run(*sleeper("x")[:4], "sync")  # the base image is there
    mark = uuid.uuid4().hex
    process = command_line.start(*sleeper(mark))
    try:
        until(lambda: running(mark), LONGEST_SECONDS)
        process.send_signal(number)
        until(lambda: not running(mark), SOON)
        status = process.wait(timeout=LONGEST_SECONDS)
        assert status == (-signal.SIGKILL if number is signal.SIGKILL else 2)
    finally:
        end(process)
    command_line.run("core", "container", "from", "--address=debian:bookworm-slim", "sync")
    assert is_clean(command_line)


def is_clean(command_line: CommandLine) -> bool:
    """Whether the store holds nothing of sessions that are over."""
    store = Path(command_line.environ["LAYERLINE_STORE"])
    mounts = Path("/proc/self/mountinfo").read_text()
    return not any((store / "scratch").iterdir()) and str(store) not in mounts


def test_a_service_does_not_outlive_its_client(command_line: CommandLine) -> None:
    process = command_line.start(
        *("core", "container", "from", "--address=python:3.11-slim"),
        *("with-exposed-port", "--port=8000"),
        *("as-service", "--args=python,-m,http.server,8000", "up", "--random"),
    )
    try:
        url = address(process)
        assert httpx.get(url).status_code == 200
        process.kill()
        process.wait()
        until(lambda: refused(url), SOON)
    finally:
        end(process)


def refused(url: str) -> bool:
    port = int(url.rpartition(":")[2])
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_client_that_hangs_up_ends_its_query_only(connect: Connect) -> None:
    mark = uuid.uuid4().hex
    with connect() as client:
        client.shell("true")
        query = (
            '{ container { from(address: "debian:bookworm-slim") '
            f'{{ withExec(args: ["sh", "-c", "sleep 1000", "{mark}"]) {{ stdout }} }} }} }}'
        )
        body = json.dumps({"query": query})
        with pytest.raises(httpx.ReadTimeout):
            client.http.post(
                client.url,
                content=body,
                headers={"Content-Type": "application/json"},
                timeout=httpx.Timeout(30, read=2),
            )
        until(lambda: not running(mark), SOON + 1)
        assert client.shell("echo still here") == "still here\n"


def end(process: command.Process[bytes]) -> None:
    process.kill()
    process.communicate()
