"""Work that is done when the processes of a session have ended, however they ended.

The kernel ends what is in the namespaces of a session that is killed, but directories of cgroups
stay. A process outside of the namespaces waits for the end, and removes them.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def run_after_end(task: Callable[[], object]) -> None:
    """Have `task` run once this process and all that it forks, without exec, have ended.

    Call it before other threads are started. The task has no standard streams.
    """
    waiting, _held = os.pipe()  # this end closes with the last process that has it
    if os.fork():
        os.close(waiting)
        return
    # The child must never return into its parent's stack, whatever goes wrong in it.
    try:
        _detach(waiting)
        os.read(waiting, 1)
        with suppress(OSError):
            task()
    finally:
        os._exit(0)


def _detach(kept: int) -> None:
    """Leave the terminal and the streams of the session, and ignore what ends it."""
    os.setsid()
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    for place in os.listdir("/proc/self/fd"):  # noqa: PTH208  numbers, no paths
        if int(place) > 2 and int(place) != kept:
            with suppress(OSError):
                os.close(int(place))
