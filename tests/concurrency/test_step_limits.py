"""Bombs in one session, as users meet them: a clear error, and everything else goes on."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from layerline.engine.runtime.cgroups import Cgroups
from layerline.engine.runtime.hierarchies import find_hierarchies, subdirectories

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.concurrency.conftest import Client, Connect
    from tests.conftest import CommandLine

pytestmark = pytest.mark.privileged

ROUNDS = 10


@pytest.fixture
def command_line(command_line: CommandLine) -> CommandLine:
    """The command line of a user who allows a step 100 MB and 200 processes."""
    session = Cgroups()
    places = [session.directory(controller) for controller in ("memory", "pids")]
    session.close()
    if None in places:
        pytest.skip("no writable cgroups")
    own = {"LAYERLINE_MEMORY": "100MB", "LAYERLINE_PROCESSES": "200"}
    return replace(command_line, environ={**command_line.environ, **own})


@pytest.fixture
def client(connect: Connect) -> Iterator[Client]:
    """A session, which has the base image."""
    with connect() as client:
        client.shell("true")
        yield client


def message(client: Client, script: str) -> str:
    """The error of a step; empty when it succeeds."""
    base = '{ container { from(address: "debian:bookworm-slim") { withExec(args: '
    answer = client.post(f'{base}["bash", "-c", {json.dumps(script)}]) {{ sync }} }} }} }}')
    return str(answer["errors"][0]["message"]) if "errors" in answer else ""


def test_bombs_say_their_limit_while_other_steps_go_on(client: Client) -> None:
    bombs = {
        "tail /dev/zero": "exit code: 137: out of memory: the limit for a step is 100.0 MB: ",
        "perl -e 'while (1) { push @a, q(x) x 1000000 }'": "exit code: 137: out of memory: the ",
        "b() { b | b & b; }; b 2> /dev/null; while sleep 99 & do :; done": "too many processes: ",
    }
    with ThreadPoolExecutor() as pool:
        jobs = {pool.submit(message, client, bomb): said for bomb, said in bombs.items()}
        for number in range(5):
            began = time.monotonic()
            assert client.shell("echo on", unique=str(number)) == "on\n"
            assert time.monotonic() - began < 10
        for job, said in jobs.items():
            assert said in job.result()
            assert "in [limits] of " in job.result()


def test_the_classic_fork_bomb_leaves_nothing(client: Client) -> None:
    """Its shell may end before it is refused anything: as with docker, that is no failure."""
    said = message(client, ":(){ :|:& };: 2> /dev/null")
    assert not said or "too many processes: the limit for a step is 200: raise " in said
    assert int(client.shell("ls -d /proc/[0-9]* | wc -l", unique="after")) < 9


def test_a_session_that_was_killed_leaves_no_group_after_the_next_start(
    connect: Connect, command_line: CommandLine
) -> None:
    """Also where the next session runs no container."""
    for number in range(ROUNDS):
        with connect() as client:
            client.shell("true", unique=str(number))
            client.process.kill()
            client.process.wait()
        command_line.run("query", stdin=b"{ version }")
        assert dead_sessions() == []


def dead_sessions() -> list[Path]:
    """The groups of sessions whose lock nobody holds; other sessions of this machine may live."""
    first, *_ = [each.place / "layerline" for each in find_hierarchies()]
    found = []
    for path in subdirectories(first):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found.append(path)
            finally:
                os.close(descriptor)
    return found
