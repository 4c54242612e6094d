"""Interactive programs in containers, on the terminal of the user.

Invariant: one program has the terminal at a time, nothing else is shown on it meanwhile, and
its settings are restored however the program ends.
"""

from __future__ import annotations

import os
import termios
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.engine.runtime.container import setup_error
from layerline.engine.runtime.stdio import wait
from layerline.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from layerline.engine.runtime.container import Runtime
    from layerline.engine.runtime.runc import Container
    from layerline.engine.runtime.spec import ContainerSpec
    from layerline.log import Journal

_CONTROLLING = Path("/dev/tty")


@dataclass(frozen=True, slots=True, kw_only=True)
class UserTerminal:
    """The terminal that the session was started from, if it was; what it shows gives way."""

    journal: Journal
    path: Path = _CONTROLLING
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def exists(self) -> bool:
        try:
            os.close(self._open())
        except OSError:
            return False
        return True

    @contextmanager
    def borrow(self) -> Iterator[int]:
        """An open descriptor of the terminal, for one program at a time."""
        with self._turn:
            try:
                descriptor = self._open()
            except OSError as exc:
                message = (
                    f"no terminal available ({exc.strerror}): run this command from a terminal"
                )
                raise QueryError(message) from exc
            try:
                with self.journal.pause():
                    yield descriptor
            finally:
                os.close(descriptor)

    def _open(self) -> int:
        return os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)


def run_on_terminal(runtime: Runtime, spec: ContainerSpec, terminal: int) -> int:
    """Run the program with `terminal`, an open terminal, as its own; returns its exit code.

    The runtime program copies keys and text and follows the window's size; for that it stays in
    the foreground with this process.
    """
    with runtime.prepare(spec, terminal=True) as ready:
        if ready.launch_error is not None:
            raise setup_error(spec, ready.launch_error)
        with _keep_settings(terminal):
            process = ready.container.start(
                stdin=terminal, stdout=terminal, stderr=terminal, foreground=True
            )
            code = wait(process, on_tick=lambda: None)
        failure = ready.container.failure()
        if failure is not None:
            raise setup_error(spec, failure)
        return code


def execute_on_terminal(container: Container, argv: Sequence[str], terminal: int) -> int:
    """Run another program in a container that runs, on `terminal`; returns its exit code."""
    with _keep_settings(terminal):
        return wait(container.join(argv, terminal), on_tick=lambda: None)


@contextmanager
def _keep_settings(terminal: int) -> Iterator[None]:
    before = termios.tcgetattr(terminal)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
