"""Durations as Go writes them: `1h30m`, `1.5s`, `300ms`."""

from __future__ import annotations

import re

from layerline.errors import QueryError

_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def nanoseconds(text: str) -> int:
    """The length of a duration in nanoseconds."""
    parts = _PART.findall(text)
    if text == "0":
        return 0
    if not parts or "".join(number + unit for number, unit in parts) != text.lstrip("+-"):
        message = f'time: invalid duration "{text}"; write for example 30s or 1h30m'
        raise QueryError(message)
    total = sum(round(float(number) * _UNITS[unit]) for number, unit in parts)
    return -total if text.startswith("-") else total


def go_duration(length: int) -> str:
    """A length in nanoseconds as Go prints it."""
    if length == 0:
        return "0s"
    sign, length = ("-", -length) if length < 0 else ("", length)
    if length < _UNITS["s"]:
        unit = next(name for name in ("ms", "µs", "ns") if length >= _UNITS[name])
        return f"{sign}{_number(length / _UNITS[unit])}{unit}"
    hours, rest = divmod(length, _UNITS["h"])
    minutes, rest = divmod(rest, _UNITS["m"])
    seconds = f"{_number(rest / _UNITS['s'])}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else f"{sign}{seconds}"


def _number(value: float) -> str:
    return f"{value:.9f}".rstrip("0").rstrip(".")
