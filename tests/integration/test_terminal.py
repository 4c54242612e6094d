"""`terminal` at the end of a call, with a user at a pseudo terminal."""

from __future__ import annotations

import os
import pty
import select
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Project

pytestmark = [pytest.mark.privileged, pytest.mark.network]

LONGEST_SECONDS = 60.0


def test_a_user_looks_around_in_what_was_built(project: Project) -> None:
    child, user = pty.fork()
    if child == 0:
        words = project.argv("call", "build", "terminal")
        os.chdir(project.home)
        os.execve(words[0], words, dict(project.environ))
    seen = read_until(user, b"# ")
    os.write(user, b"test -t 0 && cut -c1-8 /app/train.py && pwd\n")
    seen += read_until(user, b"/app\r\n")
    assert b"print('t\r\n" in seen
    os.write(user, b"exit\n")
    seen += read_until(user, b"")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, seen
    os.close(user)


def read_until(user: int, words: bytes) -> bytes:
    """What is shown until the words come; without words, until nobody shows anything any more."""
    seen = b""
    deadline = time.monotonic() + LONGEST_SECONDS
    while not words or words not in seen:
        ready, _, _ = select.select([user], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, seen
        try:
            got = os.read(user, 4096)
        except OSError:  # the last program has closed its side
            got = b""
        if not got:
            assert not words, seen
            break
        seen += got
    return seen
