"""A shell in a container on a real pseudo terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
import threading
from typing import TYPE_CHECKING

import pytest

from layerline.engine.runtime.terminal import run_on_terminal
from layerline.errors import ExecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.runtime.conftest import Box


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The user's side and the program's side of a terminal of 33 rows."""
    user, program = pty.openpty()
    fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    yield user, program
    os.close(user)
    os.close(program)


def type_and_read(user: int, keys: bytes, until: bytes) -> bytes:
    os.write(user, keys)
    seen = b""
    while until not in seen:
        assert select.select([user], [], [], 10)[0], seen
        seen += os.read(user, 1000)
    return seen


def test_a_shell_gets_keys_a_terminal_and_its_size(box: Box, terminal: tuple[int, int]) -> None:
    user, program = terminal
    before = termios.tcgetattr(program)
    codes: list[int] = []
    spec = box.spec("sh")
    thread = threading.Thread(
        target=lambda: codes.append(run_on_terminal(box.runtime, spec, program))
    )
    thread.start()
    type_and_read(user, b"", b"# ")
    assert b"33 99" in type_and_read(user, b"stty size\n", b"33 99")
    assert b"is-a-tty" in type_and_read(user, b"test -t 0 && echo is-a-'tty'\n", b"is-a-tty\r")
    # Ctrl-C belongs to the program, not to the engine.
    type_and_read(user, b"echo rea'dy'; cat\n", b"ready\r\n")
    type_and_read(user, b"echoed\n", b"echoed\r\nechoed\r\n")
    type_and_read(user, b"\x03", b"# ")
    os.write(user, b"exit 7\n")
    thread.join(timeout=10)
    assert codes == [7]
    assert termios.tcgetattr(program) == before


def test_a_missing_program_is_reported(box: Box, terminal: tuple[int, int]) -> None:
    with pytest.raises(ExecError, match="executable file not found"):
        run_on_terminal(box.runtime, box.spec("nope"), terminal[1])
