"""`~` in paths and URIs that a user writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline.errors import QueryError

if TYPE_CHECKING:
    from pathlib import Path


def expand_home(path: str, home: Path) -> str:
    """The path with a leading `~` replaced by the caller's home.

    Raises QueryError for the home of another user (`~other`), as the Dagger engine does.
    """
    if not path.startswith("~"):
        return path
    if path != "~" and not path.startswith("~/"):
        message = f"cannot expand home directory {path!r}: use an absolute path"
        raise QueryError(message)
    return f"{home}{path[1:]}"
