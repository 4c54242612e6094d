"""Where uv keeps its cache, which a home that cannot be written to has no place for.

https://docs.astral.sh/uv/concepts/cache/#cache-directory
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def cache_of(environ: Mapping[str, str]) -> Path:
    """The directory, which need not exist."""
    if named := environ.get("UV_CACHE_DIR"):
        return Path(named)
    above = environ.get("XDG_CACHE_HOME") or f"{environ.get('HOME', '/nonexistent')}/.cache"
    return Path(above) / "uv"


def is_writable(place: Path) -> bool:
    """Whether a directory exists or can be created, and can be written to."""
    existing = next(each for each in (place, *place.parents) if each.exists())
    return existing.is_dir() and os.access(existing, os.W_OK)
