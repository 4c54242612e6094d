"""How much a container has received, read while it runs from the counters of its network.

That is what is known of a download in a container before its program says that it is complete.
"""

from __future__ import annotations

import contextlib
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.engine.runtime.network import in_namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SECONDS = 0.5
_LEAST_BYTES = 1 << 16  # what is worth an event
_COUNTERS = Path("/proc/thread-self/net/dev")
_LOOPBACK = "lo"


@contextmanager
def watching(namespace: Path | None, report: Callable[[int], None]) -> Iterator[None]:
    """Report the bytes that a network namespace receives until the end of the block."""
    if namespace is None:
        yield
        return
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(namespace, report, ended), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _watch(namespace: Path, report: Callable[[int], None], ended: threading.Event) -> None:
    def poll() -> None:
        reported = begun = received_in(_COUNTERS.read_text())
        over = False
        while not over:
            over = ended.wait(_SECONDS)
            received = received_in(_COUNTERS.read_text())
            # A step that was reported once is reported to its end; most receive next to nothing.
            enough = 1 if over and reported > begun else _LEAST_BYTES
            if received - reported >= enough:
                reported = received
                report(received - begun)

    with contextlib.suppress(OSError):  # without the counters there is only less to see
        in_namespace(namespace, poll)


def received_in(counters: str) -> int:
    """The bytes received by all interfaces but the loopback, in the form of `proc_net_dev(5)`."""
    total = 0
    for line in counters.splitlines():
        name, colon, numbers = line.partition(":")
        if colon and name.strip() != _LOOPBACK:
            total += int(numbers.split()[0])
    return total
