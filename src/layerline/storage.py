"""How much of a disk the store may keep, as the user sets it: automatic pruning.

The limits are BuildKit's: what is never pruned (`reserved`), the most that is kept, and what stays
free on the disk. https://docs.docker.com/build/cache/garbage-collection/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.errors import UsageError
from layerline.quantities import parse_size
from layerline.settings_table import read_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PERCENT = re.compile(r"(\d{1,3})%")
_KEYS = ("keep_storage", "min_free", "reserved", "forecast")
_GB = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """Bytes, or a share of the disk in percent of which at most `bytes` count, if there are any."""

    bytes: int = 0
    percent: int = 0

    def of(self, disk: int) -> int:
        """The bytes on a disk of this size."""
        share = disk * self.percent // 100
        return min(share, self.bytes) if self.percent and self.bytes else share or self.bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """What automatic pruning keeps. `keep` is None if it is off.

    Once something has to go, no more than `target` is kept, if there is one.
    `forecast`: refuse a call that cannot fit on the disk according to its earlier runs.
    """

    keep: Amount | None = Amount(percent=80, bytes=100 * _GB)
    min_free: Amount = Amount(percent=20, bytes=20 * _GB)
    reserved: Amount = Amount(percent=10, bytes=10 * _GB)
    forecast: bool = True
    target: Amount = Amount()

    @classmethod
    def read(cls, document: Mapping[str, object], config: Path) -> Storage:
        """Read `[storage]` of the settings file."""
        example = "e.g. [storage] min_free = '20GB'"
        table = read_table(document, "storage", _KEYS, config, example=example)
        forecast = table.get("forecast", True)
        if not isinstance(forecast, bool):
            message = f"invalid forecast in [storage] of {config}: use true or false"
            raise UsageError(message)
        off = table.get("keep_storage") == "off"
        return cls(
            keep=None if off else _amount(table, "keep_storage", config) or cls().keep,
            min_free=_amount(table, "min_free", config) or cls().min_free,
            reserved=_amount(table, "reserved", config) or cls().reserved,
            forecast=forecast,
        )

    def limit(self, *, disk: int, free: int, used: int) -> int | None:
        """The bytes that the store may keep; None without a limit.

        `disk` is the size of the disk, `free` what is free on it, `used` what the store takes.
        """
        if self.keep is None:
            return None
        kept = min(self.keep.of(disk), used + free - self.min_free.of(disk))
        target = self.target.of(disk)
        if target and used > max(self.reserved.of(disk), kept):
            kept = min(kept, target)
        return max(self.reserved.of(disk), kept)


def parse_amount(text: str) -> Amount:
    """An amount as a number and a unit, or as a share of the disk. Raises ValueError."""
    found = _PERCENT.fullmatch(text)
    if found is not None and int(found[1]) <= 100:
        return Amount(percent=int(found[1]))
    return Amount(bytes=parse_size(text))


def _amount(table: Mapping[str, object], key: str, config: Path) -> Amount | None:
    if key not in table:
        return None
    try:
        return parse_amount(str(table[key]))
    except ValueError as exc:
        off = ", or 'off'" if key == "keep_storage" else ""
        message = f"invalid {key} in [storage] of {config}: {exc}, or a share, e.g. 50%{off}"
        raise UsageError(message) from exc
