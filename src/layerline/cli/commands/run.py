"""`run`: a program with a session in its environment."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from layerline import command
from layerline.cli.commands.flag_parsing import add_text_flag, print_help
from layerline.cli.commands.sdk_interpreter import with_sdk
from layerline.cli.flags import FlagSet
from layerline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from layerline.cli.console import Console
    from layerline.engine.api.session import Session

_ABOUT = "Run a program in a session, which it finds in its environment"
_ENDING = (signal.SIGINT, signal.SIGTERM)
_SIGNALLED = 128  # a shell's exit code for a signal: 128 and its number


def run_program(console: Console, argv: Sequence[str]) -> int:
    """Run a program with a session in its environment; its exit code is ours."""
    path = f"{console.program} run"
    flags = FlagSet((console.flags,))
    add_text_flag(flags, "cleanup-timeout")
    program = flags.parse(argv)
    if console.options.help and _is_help_for_us(argv, program):
        print_help(console, about=_ABOUT, path=path, use="[options] [--] <command>...")
        return 0
    if not program:
        message = "run needs a command, e.g. -- python build.py"
        raise UsageError(message, usage=path)
    executable = _find_executable(console, program[0], path)
    if os.geteuid() != 0:
        return _run_outside(console, [executable, *program[1:]])
    console.enter()
    from layerline.cli.chain.engine_session import run_in_session
    from layerline.cli.commands.client_version import serve_client_version

    async def work(served: Session) -> int:
        serve_client_version(console, served)
        return await _wait_for_program(console, served, [executable, *program[1:]])

    status = run_in_session(console, work, interactive=True)
    return status if status >= 0 else _SIGNALLED - status


def _is_help_for_us(argv: Sequence[str], program: Sequence[str]) -> bool:
    """Whether --help is a flag of `run` and not one of the program."""
    return not program or "--help" in argv[: len(argv) - len(program)]


def _find_executable(console: Console, name: str, path: str) -> str:
    search_path = console.settings.environ.get("PATH") or command.DEFAULT_PATH
    executable = command.find(name, path=search_path)
    if executable is None and "/" not in name:
        message = f"{name} is not on the PATH: install it, or give the path of the program"
        raise UsageError(message, usage=path)
    if "/" in name:
        _check_program(console.workdir / name, name, path)
    if executable is None or "/" in name:
        return str(executable or name)
    chosen = with_sdk(str(executable))
    if chosen != str(executable):
        console.info(f"{executable} has no dagger-io: {name} is {chosen}")
    return chosen


def _check_program(place: Path, name: str, path: str) -> None:
    """Raise a UsageError for what cannot be started."""
    if not place.is_file():
        message = f"{name}: no such file: give the path of a program, e.g. -- python3 build.py"
        raise UsageError(message, usage=path)
    if not os.access(place, os.X_OK):
        message = f"{name} is not executable: run 'chmod +x {name}', or name its interpreter first"
        raise UsageError(message, usage=path)


async def _wait_for_program(console: Console, served: Session, argv: Sequence[str]) -> int:
    """Start a program and give its status; it is terminated when the wait is cancelled."""
    import anyio

    process = command.start(
        argv,
        env={**console.settings.environ, **served.environ(served.main)},
        cwd=console.workdir,
        stdin=sys.stdin.fileno(),
    )
    try:
        return int(await anyio.to_thread.run_sync(process.wait, abandon_on_cancel=True))
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def _run_outside(console: Console, argv: Sequence[str]) -> int:
    """Run a program of an ordinary user where the user is; the session alone becomes root.

    The session is in a child, which ends when `hold` is closed, by whatever ends this process.
    """
    ready, report = os.pipe()
    alive, hold = os.pipe()
    # A signal never finds this process unprepared, nor the child with this process's handler.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    session = os.fork()
    if session == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        os.close(ready)
        os.close(hold)
        return _serve(console, report, alive)
    os.close(report)
    os.close(alive)
    outside = _Outside(session=session)
    with outside.attended(), open(ready) as lines:  # noqa: PTH123  a descriptor, not a path
        line = lines.readline()
        status = outside.run(console, argv, json.loads(line)) if line else 0
        if not outside.cancelled.is_set():
            os.close(hold)  # else the signal ends the session, whose status says so
        of_session = os.waitstatus_to_exitcode(os.waitpid(session, 0)[1])
    found = of_session if outside.cancelled.is_set() or not line else status
    return found if found >= 0 else _SIGNALLED - found


def _serve(console: Console, report: int, alive: int) -> int:
    """Serve a session until nobody writes to `alive`; its variables are reported as JSON."""
    console.enter()
    import anyio

    from layerline.cli.chain.engine_session import run_in_session
    from layerline.cli.commands.client_version import serve_client_version

    async def work(served: Session) -> int:
        serve_client_version(console, served)
        os.write(report, json.dumps(served.environ(served.main)).encode() + b"\n")
        os.close(report)
        await anyio.wait_readable(alive)
        return 0

    return run_in_session(console, work, interactive=True)


@dataclass(kw_only=True)
class _Outside:
    """What a signal ends: the session in a child, and the program once it was started."""

    session: int
    program: command.Process[bytes] | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def attended(self) -> Iterator[None]:
        """Let signals cancel both; they are blocked until then."""
        before = {number: signal.signal(number, self._cancel) for number in _ENDING}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def run(self, console: Console, argv: Sequence[str], variables: Mapping[str, str]) -> int:
        """Run the program to its end; a signal that came first keeps it from being started."""
        setpriv = command.require("setpriv", package="util-linux")
        if self.cancelled.is_set():
            return 0
        self.program = command.start(
            [setpriv, "--pdeathsig", "KILL", "--", *argv],
            env={**console.settings.environ, **variables},
            cwd=console.workdir,
            stdin=sys.stdin.fileno(),
        )
        if self.cancelled.is_set():  # while it was started
            self.program.terminate()
        return self.program.wait()

    def _cancel(self, _number: int, _frame: object) -> None:
        self.cancelled.set()
        if self.program is not None:
            self.program.terminate()
        with suppress(ProcessLookupError):
            os.kill(self.session, signal.SIGTERM)
