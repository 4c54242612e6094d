"""What is wanted of a case, and its row in the table: what is missed is marked."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.cache.machine import Cost

HEAD = (
    "| case | seconds | of processors | containers | MB up | MB down |\n"
    "| --- | --- | --- | --- | --- | --- |"
)
_MB = 10**6
_FORMATS = {"seconds": "{:.1f}", "processor": "{:.1f}", "up": "{:.2f}", "down": "{:.2f}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The most that a case may cost: in seconds, containers, and bytes; None for no limit."""

    seconds: float | None = None
    containers: int | None = None
    up: float | None = None
    down: float | None = None


NOTHING = Wanted()


def row(case: str, cost: Cost, wanted: Wanted) -> str:
    """The case in Markdown, as `value (at most limit)`, in bold where it is more."""
    limits = dataclasses.asdict(wanted)
    cells = [
        _cell(name, value, limits.get(name)) for name, value in dataclasses.asdict(cost).items()
    ]
    return f"| {case} | {' | '.join(cells)} |"


def _cell(name: str, value: float, limit: float | None) -> str:
    text = _text(name, value)
    if limit is None:
        return text
    text = f"{text} (at most {_text(name, limit)})"
    return f"**{text}**" if value > limit else text


def _text(name: str, value: float) -> str:
    return _FORMATS.get(name, "{}").format(value / _MB if name in ("up", "down") else value)
