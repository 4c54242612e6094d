"""`run`: a program with a session in its environment."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING

from layerline.cli.commands.flag_parsing import add_text_flag, print_help
from layerline.cli.flags import FlagSet
from layerline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from layerline.cli.console import Console
    from layerline.engine.api.session import Session

_ABOUT = "Run a program in a session, which it finds in its environment"
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
    from layerline import command

    search_path = console.settings.environ.get("PATH") or command.DEFAULT_PATH
    executable = command.find(name, path=search_path)
    if executable is None and "/" not in name:
        message = f"{name} is not on the PATH"
        raise UsageError(message, usage=path)
    return str(executable or name)


async def _wait_for_program(console: Console, served: Session, argv: Sequence[str]) -> int:
    """Start a program and give its status; it is terminated when the wait is cancelled."""
    import anyio

    from layerline import command

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
    child = os.fork()
    if child == 0:
        os.close(ready)
        os.close(hold)
        return _serve(console, report, alive)
    os.close(report)
    os.close(alive)
    with open(ready) as lines:  # noqa: PTH123  a descriptor, not a path
        line = lines.readline()
    cancelled = False
    status = 0
    if line:
        status, cancelled = _wait_outside(console, child, argv, json.loads(line))
    if not cancelled:
        os.close(hold)  # else the signal ends the session, whose status says so
    of_session = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return of_session if cancelled or not line else status


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


def _wait_outside(
    console: Console, session: int, argv: Sequence[str], variables: Mapping[str, str]
) -> tuple[int, bool]:
    """The program's exit code, and whether a signal has ended it and the session."""
    from layerline import command

    setpriv = command.require("setpriv", package="util-linux")
    process = command.start(
        [setpriv, "--pdeathsig", "KILL", "--", *argv],
        env={**console.settings.environ, **variables},
        cwd=console.workdir,
        stdin=sys.stdin.fileno(),
    )
    cancelled: list[int] = []

    def cancel(number: int, _frame: object) -> None:
        cancelled.append(number)
        process.terminate()
        os.kill(session, signal.SIGTERM)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, cancel)
    status = process.wait()
    return status if status >= 0 else _SIGNALLED - status, bool(cancelled)
