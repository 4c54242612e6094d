"""Sizes and durations as people write and read them."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_TIME = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def parse_size(text: str) -> int:
    """Bytes from a size such as 10GB, 512MiB or 1000; ValueError says what is wrong."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        message = f"invalid size {text!r}: use a number and a unit, e.g. 10GB"
        raise ValueError(message)
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** _POWERS[found[2].lower()])


def parse_duration(text: str) -> float:
    """Seconds from a duration such as 90s, 48h, 7d or 1d12h; ValueError says what is wrong."""
    parts = _TIME.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        message = f"invalid duration {text!r}: use numbers and units, e.g. 48h or 7d"
        raise ValueError(message)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def format_size(size: float) -> str:
    """A size in powers of 1000, with its unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
