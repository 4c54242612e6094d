"""The priority of threads that send: low next to the work, ordinary while somebody waits for them.

Who publishes an image, or has come to the end of a command, waits for layers that these threads
pack. At low priority that takes long on a busy machine.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NICENESS = 10
_TASKS = Path("/proc/self/task")


@dataclass(slots=True, eq=False)
class Priority:
    """The priority of some threads of this process, which those that they start have as well."""

    _threads: set[int] = field(default_factory=set)
    _raised: set[int] = field(default_factory=set)
    _waiting: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def lower(self) -> None:
        """Count the calling thread among those whose priority is low."""
        with self._lock:
            self._threads.add(threading.get_native_id())
            if not self._waiting:
                _set({threading.get_native_id()}, _NICENESS)

    @contextlib.contextmanager
    def awaited(self) -> Iterator[None]:
        """Have them run at ordinary priority for the length of the block, if that is permitted."""
        with self._lock:
            self._waiting += 1
            if self._waiting == 1:
                self._raised = set(_low())
                _set(self._raised, 0)
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1
                if not self._waiting:
                    _set(self._raised | self._threads, _NICENESS)


def _low() -> Iterator[int]:
    """The threads of this process whose priority is low."""
    for place in _TASKS.iterdir():
        thread = int(place.name)
        with contextlib.suppress(OSError):  # it has just ended
            if os.getpriority(os.PRIO_PROCESS, thread) == _NICENESS:
                yield thread


def _set(threads: Iterable[int], niceness: int) -> None:
    for thread in threads:
        # Some have ended, and to raise a priority takes CAP_SYS_NICE or RLIMIT_NICE.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, niceness)
