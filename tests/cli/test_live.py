"""Progress on a terminal: steps come, scroll away and leave what was asked for."""

from __future__ import annotations

import os
import pty
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Place

pytestmark = pytest.mark.privileged

HIDE_CURSOR, SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"
COPY = ("core", "directory", "with-new-file", "--path=a", "--contents=x", "file", "--path=a")


def on_terminal(place: Place, *args: str, keys: bytes = b"") -> tuple[bytes, int]:
    """All that a command shows on a terminal, and how it ended."""
    argv = place.argv(*args)
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(place.workdir)
        os.execve(argv[0], argv, {**place.environ, "TERM": "xterm", "COLUMNS": "100"})
    seen = b""
    try:
        while shown := os.read(terminal, 4096):
            seen += shown
            if keys and b"Press Enter" in seen:
                os.write(terminal, keys)
                keys = b""
    except OSError:  # the last process that had the terminal is gone
        pass
    os.close(terminal)
    return seen, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def test_steps_are_drawn_and_leave_a_line(extras: Place) -> None:
    seen, status = on_terminal(extras, *COPY, "contents")
    assert status == 0, seen
    assert HIDE_CURSOR in seen
    assert seen.index(HIDE_CURSOR) < seen.index(SHOW_CURSOR)
    assert b"withNewFile /a" in seen
    assert seen.rstrip().endswith(b"x")  # the result comes last, below what was drawn


@pytest.mark.parametrize("flag", ["-s", "-qq"])
def test_nothing_is_drawn_when_nothing_is_wanted(extras: Place, flag: str) -> None:
    seen, status = on_terminal(extras, *COPY, "size", flag)
    assert (seen, status) == (b"1\r\n", 0)


def test_quiet_cleans_up(extras: Place) -> None:
    seen, status = on_terminal(extras, *COPY, "contents", "-q")
    assert status == 0
    assert HIDE_CURSOR in seen
    assert b"done" not in seen
    assert b"cached" not in seen


def test_no_exit_waits_for_the_user(extras: Place) -> None:
    seen, status = on_terminal(extras, *COPY, "contents", "-E", keys=b"\n")
    assert status == 0
    assert seen.index(b"Press Enter to exit.") < seen.rindex(b"x")


def test_no_exit_without_a_terminal_is_refused(extras: Place) -> None:
    done = extras.call(*COPY, "contents", "-E")
    assert done.status == 1
    assert done.stderr.startswith(b"Error: --no-exit (-E) requires progress on a terminal\n")
