"""What every run has: a directory that goes at the end, and a registry with the base images."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.engine.store.rmtree import remove_tree
from layerline.settings import process_environ
from tests.images import cache_directory, serve
from tests.registry import serving

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def bases(place: Path) -> Iterator[str]:
    """A registry that has the base images."""
    home = place / "bases"
    home.mkdir()
    with serving(home) as mirror:
        serve(mirror, cache_directory(process_environ()))
        yield mirror


@contextlib.contextmanager
def directory(work: Path) -> Iterator[Path]:
    """A directory of this run's own."""
    place = Path(tempfile.mkdtemp(dir=work, prefix="run-"))
    try:
        yield place
    finally:
        remove_tree(place)
