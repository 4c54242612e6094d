"""Downloads of a step: how much is wanted, how much is here, and how fast it comes.

What is wanted is read from what an installer writes: uv names each large wheel with its size when
it begins and when it has it, apt the sum for all packages. What has come in the meantime is known
from the step's events: the engine counts its own downloads, and what a container receives.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from layerline.quantities import format_size

if TYPE_CHECKING:
    from layerline.log import Event

_UV_BEGUN = re.compile(r"Downloading (\S+) \(([\d.]+)([KMGT]?)i?B\)")
_UV_HERE = re.compile(r"Downloaded (\S+)")
# apt-pkg's SizeToStr: powers of 1000; the first number is what the cache lacks.
_APT_BEGUN = re.compile(r"Need to get ([\d.,]+) ([kMGT]?)B(?:/\S+ \w+)? of archives")
_APT_HERE = re.compile(r"Fetched \S+ \w+ in ")
_APT_ONE = re.compile(r"Get:\d+ ")
_APT = "packages of the system"
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_APT_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_CELLS = 20
_WINDOW = 5.0  # seconds that a rate is measured over
_LEAST_SECONDS = 1.0
_LEAST_BYTES = 10**6  # what is worth a line where nothing says how much is to come


@dataclass(slots=True)
class Downloads:
    """The downloads of one step, in bytes.

    `received` and `expected` are those of the works in it, by their steps; `before` was received
    when the first download began.
    """

    wanted: dict[str, int] = field(default_factory=dict)
    here: set[str] = field(default_factory=set)
    received: dict[int, int] = field(default_factory=dict)
    expected: dict[int, int] = field(default_factory=dict)
    before: int = 0
    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    def read(self, line: str) -> bool:
        """Take a line of the installer; whether it was about a download."""
        if found := _UV_BEGUN.search(line):
            self._want(found[1], round(float(found[2]) * _UNITS[found[3]]))
        elif found := _APT_BEGUN.search(line):
            size = float(found[1].replace(",", ""))
            self._want(_APT, round(size * _APT_UNITS[found[2]]))
        elif found := _UV_HERE.search(line):
            self.here.add(found[1])
        elif _APT_HERE.search(line):
            self.here.add(_APT)
        else:
            return bool(_APT_ONE.match(line))
        return True

    def take(self, event: Event) -> None:
        """Take how much a step has received."""
        assert event.received is not None
        self.received[event.step] = event.received
        if event.expected:
            self.expected[event.step] = event.expected

    def _want(self, name: str, size: int) -> None:
        if not self.running:
            self.before = sum(self.received.values())
        self.wanted[name] = size
        self.here.discard(name)

    @property
    def running(self) -> bool:
        """Whether any is still to come."""
        pending = any(self.received[step] < size for step, size in self.expected.items())
        return pending or not self.wanted.keys() <= self.here

    @property
    def total(self) -> int:
        """The bytes that are wanted, as far as it is known; 0 if it is not."""
        return sum(self.expected.values()) or sum(self.wanted.values())

    def done(self) -> int:
        """The bytes that are here: complete files, or more where more was received."""
        complete = sum(count for name, count in self.wanted.items() if name in self.here)
        come = sum(self.received.values()) - self.before
        return max(complete, min(come, self.total) if self.total else come)

    def line(self, now: float) -> str:
        """A bar with bytes, rate and rest; without a bar where the sum is unknown; or nothing."""
        total, done = self.total, self.done()
        rate = self._rate(now, done)
        speed = f", {format_size(rate)}/s" if rate else ""
        if not self.running:
            many = not total and rate and done >= _LEAST_BYTES
            return f"{format_size(done)} received{speed}" if many else ""
        filled = _CELLS * done // total if total else 0
        bar = "━" * filled + "─" * (_CELLS - filled)
        rest = f", {(total - done) / rate:.0f} s left" if rate else ""
        return f"{bar}  {format_size(done)} of {format_size(total)}{speed}{rest}"

    def _rate(self, now: float, done: int) -> float:
        """Bytes in a second, over the last seconds; 0 while nothing comes."""
        self._samples.append((now, done))
        while self._samples[0][0] < now - _WINDOW:
            self._samples.popleft()
        since, first = self._samples[0]
        return max(0.0, done - first) / (now - since) if now - since >= _LEAST_SECONDS else 0.0
