"""Turns on the event loop: a query that calls many resolvers lets other requests in between."""

from __future__ import annotations

import time

import anyio
import anyio.lowlevel

_SECONDS = 0.05


class Turns:
    """The turns of one session's queries. Resolvers that wait get theirs in the order they came."""

    def __init__(self) -> None:
        self._lock = anyio.Lock(fast_acquire=True)
        self._ends = 0.0

    def begin(self) -> None:
        """Start a turn."""
        self._ends = time.monotonic() + _SECONDS

    def is_over(self) -> bool:
        """Whether resolvers have run for so long that others are due."""
        return time.monotonic() > self._ends

    async def wait(self) -> None:
        """Let others run."""
        async with self._lock:
            if self.is_over():
                await anyio.lowlevel.checkpoint()
                self.begin()
