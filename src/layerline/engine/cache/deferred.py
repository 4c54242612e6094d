"""Rows that wait until the files of their layers have a place in the layer of an image.

Others may wait for the result of an exec, so its row is sent as it is after a while; the while is
long, as its files are sent once more then. What only arranges files waits for the end.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerline.engine.cache.outgoing import Outgoing

LONGEST_SECONDS = 300.0


@dataclass(slots=True, kw_only=True, eq=False)
class Deferred:
    """The rows, with the times at which they are sent at the latest. Not safe for threads."""

    longest: float = LONGEST_SECONDS
    _rows: list[tuple[float, Outgoing]] = field(default_factory=list)

    def __len__(self) -> int:
        """How many rows wait."""
        return len(self._rows)

    @property
    def rows(self) -> list[Outgoing]:
        """The rows that wait."""
        return [row for _, row in self._rows]

    def add(self, row: Outgoing) -> None:
        """Have a row wait."""
        longest = math.inf if row.is_arrangement else self.longest
        self._rows.append((time.monotonic() + longest, row))

    def take(self, is_wanted: Callable[[Outgoing], bool] = lambda _: True) -> list[Outgoing]:
        """Take some of the rows, or all."""
        rows, self._rows = self._rows, []
        taken = []
        for end, row in rows:
            if is_wanted(row):
                taken.append(row)
            else:
                self._rows.append((end, row))
        return taken

    def take_due(self) -> list[Outgoing]:
        """Take the rows that have waited for long enough."""
        now = time.monotonic()
        due = [row for end, row in self._rows if end <= now]
        self._rows = [each for each in self._rows if each[0] > now]
        return due

    def seconds(self) -> float | None:
        """How long it takes until a row is due; None without any."""
        ends = [end for end, row in self._rows if not row.is_arrangement]
        return max(0.0, min(ends) - time.monotonic()) if ends else None
