"""What was computed from a damaged snapshot: rows of the index, and the snapshots they made.

A row names the snapshots that it needs; under `INPUTS`, the keys of the rows in its table that it
was computed from; and under `MADE`, those of its snapshots that none of these gave.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from layerline.engine.store.index import Row

INPUTS, MADE = "inputs", "made"

Key = tuple[str, str]
"""A table and a key in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependents:
    """The rows and the snapshots that are based on something damaged."""

    rows: tuple[Key, ...]
    snapshots: frozenset[str]


def find_dependents(rows: Iterable[Row], damaged: Iterable[str]) -> Dependents:
    """Everything that is based on the damaged snapshots, these included."""
    known = {(row.table, row.key): row for row in rows}
    bad = set(damaged)
    gone: dict[Key, None] = {}
    grown = bool(bad)
    while grown:
        grown = False
        for key, row in known.items():
            if key not in gone and _is_based_on(row, bad, gone):
                gone[key] = None
                bad |= _made_by(row)
                grown = True
    return Dependents(rows=tuple(gone), snapshots=frozenset(bad))


def _is_based_on(row: Row, bad: set[str], gone: Mapping[Key, None]) -> bool:
    if not bad.isdisjoint(row.snapshots):
        return True
    return any((row.table, key) in gone for key in _names(row, INPUTS))


def _made_by(row: Row) -> set[str]:
    """The snapshots that a row's evaluation made; in older rows, those that have its key."""
    if MADE not in row.document:
        return {name for name in row.snapshots if f"{name}-".startswith(f"{row.key}-")}
    return _names(row, MADE)


def _names(row: Row, member: str) -> set[str]:
    found = row.document.get(member)
    return set(map(str, found)) if isinstance(found, list) else set()
