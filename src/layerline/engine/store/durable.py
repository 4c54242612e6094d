"""Durable writes: write, fsync, rename, and fsync the directory.

Invariant: after `publish` has returned, a power cut loses nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from layerline.kernel import sync_directory

if TYPE_CHECKING:
    from pathlib import Path


def publish(part: Path, final: Path) -> None:
    """Rename a finished file to its final name, atomically replacing any file there."""
    descriptor = os.open(part, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    part.replace(final)
    sync_directory(final.parent)
