"""Secrets taken out of what is shown and kept: of streams, wherever they are cut, and of texts.

Invariant: only bytes that may still become a secret are held back, so plain lines are not late.
"""

from __future__ import annotations

import base64
import functools
import json
import re
import sys
import threading
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MARK = b"***"
_STARTS = 8
_FEW = 64
_GRAM = 4  # bytes of an item of the format "I"
# The first bytes of a value contain one of its grams at every alignment.
_FILTERED = 2 * _GRAM - 1
SHORTEST_FORM = 8
_SHORTEST_VALUE = 4
_COLUMNS = (64, 76)  # of base64 in PEM (RFC 7468) and MIME (RFC 2045)


class _Values:
    """What is searched for, the longest first; prepared once for all texts."""

    def __init__(self, values: frozenset[bytes]) -> None:
        known = {form for value in values for form in (value, value.strip()) if form}
        self._values = sorted(known, key=lambda value: (-len(value), value))
        self._short = [value for value in self._values if len(value) < _FILTERED]
        self._grams = {
            int.from_bytes(value[start : start + _GRAM], sys.byteorder)
            for value in self._values
            if len(value) >= _FILTERED
            for start in range(_GRAM)
        }
        self._by_start: dict[bytes, list[bytes]] = {}
        for value in self._values:
            self._by_start.setdefault(value[:_STARTS], []).append(value)
        self._lengths = sorted(set(map(len, self._by_start)), reverse=True)
        # A pattern of many alternatives tries each; a large secret has thousands of lines.
        starts = sorted(self._by_start, key=lambda start: (-len(start), start))
        few = b"|".join(map(re.escape, starts)) if len(starts) <= _FEW else None
        self._pattern = None if few is None else re.compile(few)
        self._beginnings = {
            value[:length]
            for value in self._values
            for length in range(1, min(_STARTS, len(value)))
        }

    def __bool__(self) -> bool:
        """Whether there is anything to search for."""
        return bool(self._values)

    def may_be_in(self, text: bytes) -> bool:
        """Whether a value may be in the text: fast, however many values there are."""
        aligned = memoryview(text)[: len(text) // _GRAM * _GRAM].cast("I")
        return not self._grams.isdisjoint(aligned) or any(value in text for value in self._short)

    def find(self, text: bytes, position: int, limit: int) -> tuple[int, int]:
        """Where the first value from a position on starts, before `limit`, and ends; else -1."""
        for start, value in self._starting(text, position):
            if start >= limit:
                break
            if text.startswith(value, start):
                return start, start + len(value)
        return -1, -1

    def undecided_from(self, text: bytes, position: int, *, possible: bool) -> int:
        """Where the earliest proper beginning of a value starts that reaches the end.

        `possible` is what `may_be_in` says of the text.
        """
        for start, value in self._starting(text, position) if possible else ():
            if len(text) - start < len(value) and value.startswith(text[start:]):
                return start
        for length in range(min(_STARTS - 1, len(text) - position), 0, -1):
            if text[-length:] in self._beginnings:
                return len(text) - length
        return len(text)

    def _starting(self, text: bytes, position: int) -> Iterator[tuple[int, bytes]]:
        """Where values may start, by their first bytes, and which; the longest first."""
        for start in self._places(text, position):
            for length in self._lengths:
                for value in self._by_start.get(text[start : start + length], ()):
                    yield start, value

    def _places(self, text: bytes, position: int) -> Iterator[int]:
        if self._pattern is not None:
            while (match := self._pattern.search(text, position)) is not None:
                yield match.start()
                position = match.start() + 1
            return
        for place in range(position, len(text)):
            if any(text[place : place + length] in self._by_start for length in self._lengths):
                yield place


_prepare = functools.lru_cache(maxsize=4)(_Values)


class Scrubber:
    """Replaces each of the values, as it is and trimmed, by `***`; the longest wins."""

    def __init__(self, values: Iterable[bytes]) -> None:
        self._values = _prepare(frozenset(values))
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """The part of the stream that is decided with these bytes."""
        if not self._values:
            return data
        text = self._held + data
        done: list[bytes] = []
        position = 0
        open_from = -1
        possible = self._values.may_be_in(text)
        while True:
            if open_from < position:
                open_from = self._values.undecided_from(text, position, possible=possible)
            start, end = self._values.find(text, position, open_from) if possible else (-1, -1)
            if start < 0:
                done.append(text[position:open_from])
                self._held = text[open_from:]
                return b"".join(done)
            done += (text[position:start], _MARK)
            position = end

    def finish(self) -> bytes:
        """What was held back, at the end of the stream."""
        rest, self._held = self._held, b""
        done: list[bytes] = []
        position = 0
        possible = self._values.may_be_in(rest)
        while possible:
            start, end = self._values.find(rest, position, len(rest))
            if start < 0:
                break
            done += (rest[position:start], _MARK)
            position = end
        return b"".join((*done, rest[position:]))


class SecretMasks:
    """The secrets that this process knows, in the forms that programs give them.

    As they are; each line of at least eight characters, except the armour of PEM; base64 at each
    of the three alignments, also wrapped; hexadecimal; percent-encoded; escaped as JSON. Values
    shorter than four bytes are not masked: they would be found everywhere.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: set[bytes] = set()
        self.forms: frozenset[bytes] = frozenset()

    def add(self, value: bytes) -> None:
        """Mask a value from now on."""
        with self._lock:
            if value not in self._values:
                self._values.add(value)
                self.forms |= frozenset(_forms(value))

    def mask(self, text: str) -> str:
        """The text without secrets."""
        if not self.forms or not text:
            return text
        scrubber = Scrubber(self.forms)
        data = text.encode(errors="surrogateescape")
        return (scrubber.feed(data) + scrubber.finish()).decode(errors="surrogateescape")

    def holds(self, text: str) -> bool:
        """Whether a secret is in the text, in any form."""
        return self.mask(text) != text


class MaskedStream:
    """A stream of bytes without the secrets that are known when they pass."""

    def __init__(self, masks: SecretMasks) -> None:
        self._masks = masks
        self._forms: frozenset[bytes] = frozenset()
        self._scrubber = Scrubber(())

    def feed(self, data: bytes) -> bytes:
        """The part of the stream that is decided with these bytes."""
        before = b""
        if self._forms is not self._masks.forms:
            before = self._scrubber.finish()
            self._forms = self._masks.forms
            self._scrubber = Scrubber(self._forms)
        return self._scrubber.feed(before + data)

    def finish(self) -> bytes:
        """What was held back, at the end of the stream."""
        return self._scrubber.finish()


def _forms(value: bytes) -> Iterator[bytes]:
    trimmed = value.strip()
    if len(trimmed) < _SHORTEST_VALUE:
        return
    yield from {value, trimmed}
    lines = [line.strip() for line in trimmed.splitlines()]
    if len(lines) > 1:
        yield from (x for x in lines if len(x) >= SHORTEST_FORM and not x.startswith(b"-----"))
    for raw in {value, trimmed}:
        yield from (form for form in _encodings(raw) if len(form) >= SHORTEST_FORM)


def _encodings(value: bytes) -> Iterator[bytes]:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            encoded = encode(bytes(shift) + value)
            # Characters that bytes next to the value have a part in are left out.
            yield encoded[(shift * 8 + 5) // 6 : (shift + len(value)) * 8 // 6]
    packed = base64.b64encode(value).rstrip(b"=")
    for columns in _COLUMNS:
        yield from (packed[at : at + columns] for at in range(0, len(packed), columns))
    yield from (value.hex().encode(), value.hex().upper().encode())
    text = value.decode(errors="surrogateescape")
    yield from (quote(value, safe="").encode(), quote_plus(value).encode())
    for ascii_only in (False, True):
        escaped = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield escaped.encode(errors="surrogateescape")
