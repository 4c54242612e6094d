"""A table of the user's settings file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerline.errors import UsageError
from layerline.suggestion import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path


def read_table(
    document: Mapping[str, object],
    name: str,
    keys: Collection[str],
    config: Path,
    *,
    example: str,
    within: str = "",
) -> dict[str, Any]:
    """The table of a name, empty without one; `config` is the file that the document is from.

    `within` is what the name of a table inside another one begins with. Raises UsageError, with
    `example` as what to write, for another value or an unknown key.
    """
    table = document.get(name, {})
    if not isinstance(table, dict):
        message = f"invalid {within}{name} in {config}: use a table, {example}"
        raise UsageError(message)
    for key in table:
        if key not in keys:
            raise _unknown(key, keys, f" in [{within}{name}] of {config}")
    return table


def check_names(document: Mapping[str, object], names: Collection[str], config: Path) -> None:
    """Raise UsageError for a table or key of the file that nothing reads."""
    for name in document:
        if name not in names:
            raise _unknown(name, names, f" in {config}")


def _unknown(key: str, known: Collection[str], where: str) -> UsageError:
    hint = did_you_mean(key, known) or f": use {', '.join(known)}"
    return UsageError(f"unknown key {key!r}{where}{hint}")
