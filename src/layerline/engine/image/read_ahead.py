"""Reading in a thread, ahead of what is written.

The next chunks of a blob are read and verified while the disk takes the last ones: writing an
archive takes as long as the slower of the two instead of their sum.
"""

from __future__ import annotations

import queue
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_CHUNKS = 8


@contextmanager
def read_ahead(chunks: Iterator[bytes]) -> Iterator[Iterator[bytes]]:
    """Yield the chunks, which a thread reads; it has ended when the block ends.

    What reading raises is raised by the iteration.
    """
    filled: queue.Queue[bytes | BaseException | None] = queue.Queue(_MOST_CHUNKS)
    stopped = threading.Event()

    def read() -> None:
        last: BaseException | None = None
        try:
            for chunk in chunks:
                filled.put(chunk)
                if stopped.is_set():
                    return
        except BaseException as exc:  # noqa: BLE001 - raised by the reader of the queue
            last = exc
        filled.put(last)

    thread = threading.Thread(target=read, name="read ahead", daemon=True)
    thread.start()
    try:
        yield _taken(filled)
    finally:
        stopped.set()
        while thread.is_alive():  # it may wait for room in the queue
            with suppress(queue.Empty):
                filled.get(timeout=0.01)


def _taken(filled: queue.Queue[bytes | BaseException | None]) -> Iterator[bytes]:
    while (item := filled.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item
