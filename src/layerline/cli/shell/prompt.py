"""The shell at a terminal: a prompt with history and completion, and Ctrl-C for what runs."""

from __future__ import annotations

import contextlib
import signal
import sys
from typing import TYPE_CHECKING

import anyio

from layerline.cli.shell.completion import completions
from layerline.cli.shell.grammar import ShellSyntaxError
from layerline.cli.shell.parser import parse_script
from layerline.cli.shell.running import Shell, Source
from layerline.engine import task_group
from layerline.errors import ExecError, LayerlineError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layerline.cli.console import Console
    from layerline.cli.shell.scope import Status
    from layerline.engine.api.session import Session

_SIGN = "⋈"
_LONGEST_HISTORY = 1000
_WELCOME = 'Dagger interactive shell. Type ".help" for more information. Press Ctrl+D to exit.'


async def run_prompt(console: Console, session: Session) -> int:
    """Read lines and run them until the end of the input; the code that `.exit` gave, or 0."""
    console.info(_WELCOME)
    async with task_group() as group:
        shell = await Shell.open(console, session, group)
        code = 0
        with _editing(shell, _history(console)):
            while (text := _read(shell)) is not None:
                if text.strip() == "exit":
                    break
                status = await _run(shell, text)
                if status is not None:
                    _report(console, status)
                if shell.interpreter.left:
                    code = shell.scope.status.code
                    break
        group.cancel_scope.cancel()
    return code


async def _run(shell: Shell, text: str) -> Status | None:
    """Run what was typed; None where Ctrl-C ended it."""
    ended: list[Status] = []
    async with task_group() as group:
        group.start_soon(_cancel_on_interrupt, group.cancel_scope)
        try:
            ended.append(await shell.run(Source(text)))
        except LayerlineError as exc:
            shell.console.info(f"Error: {exc}")
        group.cancel_scope.cancel()
    return ended[0] if ended else None


async def _cancel_on_interrupt(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()


def _report(console: Console, status: Status) -> None:
    error = status.error
    if error is None:
        return
    console.info(f"Error: {error}")
    if isinstance(error, ExecError) and error.stderr:
        console.info(error.stderr)


def _read(shell: Shell) -> str | None:
    """What is typed, up to the end of a command that takes several lines; None at the end."""
    text = ""
    with shell.console.journal.pause(), _interruptible():
        while True:
            try:
                text += input(_prompt(shell) if not text else "> ") + "\n"
                parse_script(text)
            except EOFError:
                return None
            except KeyboardInterrupt:
                sys.stdout.write("\n")
                text = ""
            except ShellSyntaxError as exc:
                if not exc.incomplete:
                    return text
            else:
                return text


def _prompt(shell: Shell) -> str:
    target = shell.handler.place.target
    return f"{target.types.name} {_SIGN} ".lstrip()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C interrupt what reads the terminal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _editing(shell: Shell, history: Path) -> Iterator[None]:
    """Edit lines with readline, where Python has it, and keep their history in a file."""
    try:
        import readline
    except ImportError:
        yield
        return
    with contextlib.suppress(OSError):
        readline.read_history_file(history)
    readline.set_history_length(_LONGEST_HISTORY)
    readline.set_completer_delims(" \t\n|;&()")
    readline.parse_and_bind("tab: complete")

    def complete(_: str, number: int) -> str | None:
        found = completions(shell.handler, readline.get_line_buffer()[: readline.get_endidx()])
        return f"{found[number]} " if number < len(found) else None

    readline.set_completer(complete)
    try:
        yield
    finally:
        readline.set_completer(None)
        with contextlib.suppress(OSError):
            history.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(history)


def _history(console: Console) -> Path:
    """The file of the history, next to the user's settings."""
    return console.settings.config.parent / "shell_history"
