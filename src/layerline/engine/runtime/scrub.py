"""Secrets taken out of a stream of bytes, wherever its pieces are cut.

Invariant: only bytes that may still become a secret are held back, so plain lines are not late.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MARK = b"***"
_PROBE = 16


class Scrubber:
    """Replaces each of the values, as it is and trimmed, by `***`; the longest wins."""

    def __init__(self, values: Iterable[bytes]) -> None:
        known = {form for value in values for form in (value, value.strip()) if form}
        self._values = sorted(known, key=lambda value: (-len(value), value))
        self._pattern = re.compile(b"|".join(map(re.escape, self._values)))
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """The part of the stream that is decided with these bytes."""
        if not self._values:
            return data
        text = self._held + data
        done: list[bytes] = []
        position = 0
        open_from = -1
        while True:
            if open_from < position:
                open_from = self._undecided_start(text, position)
            match = self._pattern.search(text, position)
            if match is None or match.start() >= open_from:
                done.append(text[position:open_from])
                self._held = text[open_from:]
                return b"".join(done)
            done += (text[position : match.start()], _MARK)
            position = match.end()

    def finish(self) -> bytes:
        """What was held back, at the end of the stream."""
        rest, self._held = self._held, b""
        return self._pattern.sub(_MARK, rest) if self._values else rest

    def _undecided_start(self, text: bytes, position: int) -> int:
        """Where the earliest proper beginning of a value starts that reaches the end."""
        earliest = len(text)
        for value in self._values:
            earliest = min(earliest, _beginning(value, text, position))
        return earliest


def _beginning(value: bytes, text: bytes, position: int) -> int:
    start = max(position, len(text) - len(value) + 1)
    probe = value[:_PROBE]
    while len(text) - start >= len(probe):
        found = text.find(probe, start)
        if found < 0:
            start = len(text) - len(probe) + 1
            break
        if value.startswith(text[found:]):
            return found
        start = found + 1
    for place in range(start, len(text)):
        if value.startswith(text[place:]):
            return place
    return len(text)
