"""Counts bytes that several threads move, and reports the sum a few times a second."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_SECONDS = 0.2


@dataclass(slots=True, kw_only=True)
class Meter:
    """`report` gets the bytes that were moved, and those that will have been."""

    report: Callable[[int, int], None]
    expected: int
    _moved: dict[str, int] = field(default_factory=dict)
    _reported: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def watch(self, name: str) -> Callable[[int], None]:
        """What takes the bytes that have come of one thing; the last ones are always reported."""

        def take(moved: int) -> None:
            with self._lock:
                self._moved[name] = moved
                total, now = sum(self._moved.values()), time.monotonic()
                if now - self._reported >= _SECONDS or total >= self.expected:
                    self._reported = now
                    self.report(total, self.expected)

        return take
