"""A file of an upper layer is read without the layers below; overlayfs decides what a tree has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerline.engine.store.overlay import make_opaque, make_whiteout
from layerline.engine.store.store import Store
from layerline.errors import PathNotFound
from tests.unit.store.test_promise import PROMISED, Supply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("root")


def _empty(_top: Path) -> None:
    pass


def _other(top: Path) -> None:
    (top / "dir").mkdir()
    (top / "dir/other").write_text("other")


def _link(top: Path) -> None:
    (top / "dir").symlink_to("/elsewhere")


def _linked_file(top: Path) -> None:
    (top / "dir").mkdir()
    (top / "dir/file").symlink_to("/file")


def _whiteout(top: Path) -> None:
    (top / "dir").mkdir()
    make_whiteout(str(top / "dir/file"))


def _opaque(top: Path) -> None:
    (top / "dir").mkdir()
    make_opaque(str(top / "dir"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """With two promised snapshots at the bottom and one that has `/dir/file` above."""
    with Store.open(tmp_path / "store") as store:
        store.supply(Supply(store))
        for name in ("one", "two"):
            store.snapshots.promise(name, PROMISED)
        with store.snapshots.draft() as draft:
            (draft.fs / "dir").mkdir()
            (draft.fs / "dir/file").write_text("written")
            (draft.fs / "elsewhere").mkdir()
            (draft.fs / "elsewhere/file").write_text("elsewhere")
            draft.commit("written")
        yield store


def test_a_file_that_is_here_needs_no_other_layer(store: Store) -> None:
    tree = store.tree(["one", "two", "written"], "/dir/file")
    assert tree.read("/dir/file") == b"written"
    assert not any(map(store.snapshots.is_here, ("one", "two")))


@pytest.mark.parametrize(
    ("change", "read"),
    [
        (_empty, b"written"),
        (_other, b"written"),
        (_link, b"elsewhere"),
        (_linked_file, b"the bytes of a layer"),
        (_whiteout, None),
        (_opaque, None),
    ],
)
def test_layers_above_the_file_are_looked_at(
    store: Store, change: Callable[[Path], None], read: bytes | None
) -> None:
    with store.snapshots.draft() as draft:
        change(draft.fs)
        draft.commit("top")
    tree = store.tree(["one", "two", "written", "top"], "/dir/file")
    if read is None:
        with pytest.raises(PathNotFound):
            tree.read("/dir/file")
    else:
        assert tree.read("/dir/file") == read


def test_a_file_of_the_second_layer_that_is_missing_needs_all(store: Store) -> None:
    tree = store.tree(["written", "one", "two"], "/dir/file")
    assert tree.read("/dir/file") == b"written"
    assert all(map(store.snapshots.is_here, ("one", "two")))
