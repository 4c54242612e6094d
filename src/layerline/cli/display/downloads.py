"""Downloads of an installer, read from what it writes: how much is here, and how fast it comes.

uv names each large wheel when it begins and when it has it, where it writes to no terminal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from layerline.quantities import format_size

_BEGUN = re.compile(r"Downloading (\S+) \(([\d.]+)([KMGT]?)i?B\)")
_HERE = re.compile(r"Downloaded (\S+)")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_CELLS = 20
_LEAST_SECONDS = 1.0


@dataclass(slots=True)
class Downloads:
    """The downloads of one step, in bytes; `began` is when the first of them did."""

    wanted: dict[str, int] = field(default_factory=dict)
    here: set[str] = field(default_factory=set)
    began: float = 0.0

    def read(self, line: str, when: float) -> bool:
        """Take a line of the installer; whether it was about a download."""
        if found := _BEGUN.search(line):
            self.began = self.began or when
            self.wanted[found[1]] = round(float(found[2]) * _UNITS[found[3]])
            return True
        if found := _HERE.search(line):
            self.here.add(found[1])
            return True
        return False

    @property
    def running(self) -> bool:
        """Whether any is still to come."""
        return not self.wanted.keys() <= self.here

    def bar(self, now: float) -> str:
        """A bar, bytes, rate and rest; what has begun counts once it is here."""
        total = sum(self.wanted.values())
        done = sum(count for name, count in self.wanted.items() if name in self.here)
        filled = _CELLS * done // total if total else 0
        text = (
            f"{'━' * filled}{'─' * (_CELLS - filled)}  {format_size(done)} of {format_size(total)}"
        )
        seconds = now - self.began
        if done and seconds > _LEAST_SECONDS:
            rate = done / seconds
            text += f", {format_size(rate)}/s, {(total - done) / rate:.0f} s left"
        return text
