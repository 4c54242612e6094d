"""Signs of life of threads that send: a registry that is slow, or one that takes nothing more."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS, _MOST_SECONDS = 5.0, 20.0
_PART = 20  # of the session's time


@dataclass(slots=True, kw_only=True)
class Pulse:
    """When each thread that sends has got rid of bytes or was answered for the last time.

    The end of a session waits for a registry that takes nothing for `seconds` at least, and for a
    twentieth of the session, but not for more than 20 s.
    """

    seconds: float = _SECONDS
    _began: float = field(default_factory=time.monotonic)
    _beats: dict[int, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Count the thread among those that send until the end of the block."""
        self.beat()
        try:
            yield
        finally:
            with self._lock:
                self._beats.pop(threading.get_ident(), None)

    def beat(self) -> None:
        """The registry has taken bytes of this thread, or has answered."""
        with self._lock:
            self._beats[threading.get_ident()] = time.monotonic()

    def has_stopped(self, threads: int) -> bool:
        """Whether the registry takes nothing of any of so many threads."""
        now = time.monotonic()
        limit = min(max(self.seconds, (now - self._began) / _PART), _MOST_SECONDS)
        with self._lock:
            beats = list(self._beats.values())
        return 0 < threads <= len(beats) and now - max(beats) > limit
