"""A store, layers and trees to test with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from layerline.engine.store.store import Store
from layerline.engine.store.tree import Tree
from layerline.engine.store.writer import Writer

if TYPE_CHECKING:
    from pathlib import Path

MakeLayer = Callable[[Tree, Callable[[Writer], None]], Tree]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with Store.open(tmp_path / "store") as store:
        yield store


@pytest.fixture
def empty(tmp_path: Path) -> Tree:
    """A tree without files."""
    place = tmp_path / "empty"
    place.mkdir()
    return Tree((place,))


@pytest.fixture
def layer(tmp_path: Path) -> MakeLayer:
    """Adds a layer written by a function to a tree."""

    def make(base: Tree, change: Callable[[Writer], None]) -> Tree:
        place = tmp_path / f"layer-{len(list(tmp_path.iterdir()))}"
        place.mkdir()
        writer = Writer(base, place)
        change(writer)
        return writer.view

    return make
