"""An interactive program in a container, on the terminal of the user.

Invariant: the user's terminal gets its settings back however the program ends.
"""

from __future__ import annotations

import termios
from contextlib import contextmanager
from typing import TYPE_CHECKING

from layerline.engine.runtime.capture import wait
from layerline.engine.runtime.container import setup_failed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.engine.runtime.container import Runtime
    from layerline.engine.runtime.spec import ContainerSpec


def run_on_terminal(runtime: Runtime, spec: ContainerSpec, terminal: int) -> int:
    """Run the program with `terminal`, an open terminal, as its own; returns its exit code.

    The runtime program copies keys and text and follows the window's size; for that it stays in
    the foreground with this process.
    """
    with runtime.prepared(spec, terminal=True) as ready:
        if ready.complaint is not None:
            raise setup_failed(spec, ready.complaint)
        with _restored(terminal):
            process = ready.container.start(
                stdin=terminal, stdout=terminal, stderr=terminal, foreground=True
            )
            code = wait(process, look=lambda: None)
        failure = ready.container.failure()
        if failure is not None:
            raise setup_failed(spec, failure)
        return code


@contextmanager
def _restored(terminal: int) -> Iterator[None]:
    before = termios.tcgetattr(terminal)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
