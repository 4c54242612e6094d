"""A table of the user's settings file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path


def read_table(
    document: Mapping[str, object], name: str, keys: Collection[str], config: Path, *, example: str
) -> dict[str, Any]:
    """The table of a name, empty without one; `config` is the file that the document is from.

    Raises UsageError, with `example` as what to write, for another value or an unknown key.
    """
    table = document.get(name, {})
    if not isinstance(table, dict):
        message = f"invalid {name} in {config}: use a table, {example}"
        raise UsageError(message)
    for key in table:
        if key not in keys:
            message = f"unknown key {key!r} in [{name}] of {config}: use {', '.join(keys)}"
            raise UsageError(message)
    return table
