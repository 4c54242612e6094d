"""What needs a user at a terminal: shells in containers, and services until Ctrl-C."""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest

from layerline import command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import CommandLine

pytestmark = pytest.mark.privileged

LONGEST_SECONDS = 60.0
DEBIAN = ("core", "container", "from", "--address=debian:bookworm-slim")
PYTHON = ("core", "container", "from", "--address=python:3.11-slim")
SERVER = ("with-exposed-port", "--port=8000", "as-service", "--args=python,-m,http.server,8000")


@dataclass(slots=True, kw_only=True)
class User:
    """Somebody at a terminal: types, and reads what is shown."""

    process: int
    terminal: int

    def wait_for(self, until: bytes) -> bytes:
        seen = b""
        deadline = time.monotonic() + LONGEST_SECONDS
        while until not in seen:
            assert time.monotonic() < deadline, seen
            if select.select([self.terminal], [], [], 0.5)[0]:
                seen += os.read(self.terminal, 4096)
        return seen

    def type(self, keys: bytes, until: bytes) -> bytes:
        os.write(self.terminal, keys)
        return self.wait_for(until)

    def status(self) -> int:
        """Read to the end; how the command ended."""
        try:
            while os.read(self.terminal, 4096):
                pass
        except OSError:  # the terminal is gone with the last process that had it
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


@pytest.fixture
def users() -> Iterator[list[User]]:
    """Those who came; their terminals are taken away."""
    came: list[User] = []
    yield came
    for user in came:
        os.close(user.terminal)


def sit_down(users: list[User], command_line: CommandLine, *words: str) -> User:
    argv = [*command_line.words, *words]
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(command_line.workdir)
        os.execve(argv[0], argv, dict(command_line.environ))
    users.append(User(process=process, terminal=terminal))
    return users[-1]


def test_a_terminal_in_a_container(command_line: CommandLine, users: list[User]) -> None:
    changed = ("with-new-file", "--path=/greeting", "--contents=good day")
    user = sit_down(users, command_line, *DEBIAN, *changed, "terminal")
    user.wait_for(b"# ")
    assert b"good day" in user.type(b"cat /greeting\n", b"# ")
    assert b"/dev/pts/" in user.type(b"tty\n", b"# ")
    os.write(user.terminal, b"exit 3\n")
    assert user.status() == 0


def test_the_default_program_of_a_terminal(command_line: CommandLine, users: list[User]) -> None:
    own = ("with-default-terminal-cmd", "--args=sh,-c,echo it-is-m''ine; read answer")
    user = sit_down(users, command_line, *DEBIAN, *own, "terminal")
    user.wait_for(b"it-is-mine")
    os.write(user.terminal, b"\n")
    assert user.status() == 0


def test_a_directory_on_a_terminal(command_line: CommandLine, users: list[User]) -> None:
    words = ("core", "directory", "with-new-file", "--path=a.txt", "--contents=inside", "terminal")
    user = sit_down(users, command_line, *words)
    user.wait_for(b"# ")
    assert b"/src" in user.type(b"pwd\n", b"src\r\n")
    assert b"inside" in user.type(b"cat a.txt\n", b"inside")
    os.write(user.terminal, b"exit\n")
    assert user.status() == 0


def test_a_terminal_in_a_service(command_line: CommandLine, users: list[User]) -> None:
    user = sit_down(users, command_line, *PYTHON, *SERVER, "terminal")
    user.wait_for(b"# ")
    assert b"http.server" in user.type(b"tr '\\0' ' ' < /proc/1/cmdline\n", b"http.server")
    os.write(user.terminal, b"exit\n")
    assert user.status() == 0


def test_the_container_of_a_failed_step(command_line: CommandLine, users: list[User]) -> None:
    broken = ("with-exec", "--args=sh,-c,echo trace > /left; exit 4", "stdout")
    user = sit_down(users, command_line, "-i", *DEBIAN, *broken)
    user.wait_for(b"# ")
    assert b"trace" in user.type(b"cat /left\n", b"trace\r\n")
    os.write(user.terminal, b"exit\n")
    assert user.status() == 4


def test_a_shell_of_the_api(command_line: CommandLine, users: list[User]) -> None:
    prompt = "⋈ ".encode()
    user = sit_down(users, command_line, "shell", "-M")
    user.wait_for(prompt)
    assert b"named" in user.type(b"direct\t | with-new-file named b | entrie\t\n", b"named\r\n")
    user.type(b"kept=$(directory |\n", b"> ")
    user.type(b"with-new-file later x)\n", prompt)
    assert b"later" in user.type(b"$kept | entries\n", b"later\r\n")
    user.type(b"nope\n", b"does not exist")
    user.wait_for(prompt)
    user.type(
        b"container | from debian:bookworm-slim | with-exec sleep 100 | stdout\n", b"sleep 100\x1b"
    )
    user.type(b"\x03", prompt)
    os.write(user.terminal, b".exit 4\n")
    assert user.status() == 4


def test_without_a_terminal_it_is_said(command_line: CommandLine) -> None:
    alone = ["setsid", "--wait", *command_line.words, *DEBIAN, "terminal"]
    done = command.run(alone, env=command_line.environ, cwd=command_line.workdir, expect=None)
    assert done.status == 1
    assert b"run this command from a terminal" in done.stderr


@pytest.mark.parametrize("flags", [["--ports={free}:8000"], ["--random"]], ids=["ports", "random"])
def test_a_service_is_up_until_it_is_interrupted(
    command_line: CommandLine, flags: list[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    chosen = [flag.format(free=free) for flag in flags]
    process = command_line.start(*PYTHON, *SERVER, "up", *chosen)
    try:
        url = address(process)
        assert flags == ["--random"] or url == f"http://localhost:{free}"
        assert "Directory listing" in httpx.get(url).text
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)
    finally:
        process.kill()
        process.communicate()


def test_whoever_names_ports_may_have_the_services_own_in_use(command_line: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as own:
        free = listener.getsockname()[1]
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # somebody else has it, which is as good
            own.bind(("127.0.0.1", 8000))
            own.listen()
        listener.close()
        process = command_line.start(*PYTHON, *SERVER, "up", f"--ports={free}:8000")
        try:
            assert "Directory listing" in httpx.get(address(process)).text
        finally:
            process.kill()
            process.communicate()


def test_a_socket_of_the_host_in_a_container(command_line: CommandLine) -> None:
    place = command_line.workdir / "greetings"
    program = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/s'); "
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()
        thread = threading.Thread(target=greet, args=(listener,))
        thread.start()
        done = command_line.run(
            *(*PYTHON, "with-unix-socket", "--path=/run/s", f"--source={place}"),
            *("with-exec", f"--args=python,-c,{program}print(s.recv(99).decode())", "stdout"),
        )
        thread.join()
    assert done.stdout == b"hello from the host\n"


def greet(listener: socket.socket) -> None:
    with listener.accept()[0] as peer:
        peer.sendall(b"hello from the host")


def address(process: command.Process[bytes]) -> str:
    """The URL that the command tells."""
    assert process.stderr is not None
    for line in process.stderr:
        for word in line.decode().split():
            if word.startswith("http://localhost:"):
                return word
    pytest.fail("the command ended without telling where it listens")
