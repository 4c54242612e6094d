"""A tree digest covers all content and metadata, but no times or locations."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

import pytest

from layerline.engine.store.path_filter import PathFilter
from layerline.engine.store.tree import Tree
from layerline.engine.store.tree_digest import Selection, TooLarge, file_digest, tree_digest
from layerline.engine.store.writer import CopyOptions, Writer
from layerline.errors import PathNotFound

MakeLayer = Callable[[Tree, Callable[[Writer], None]], Tree]


def sample(writer: Writer) -> None:
    """A few entries of each type."""
    writer.write("d/e/f", b"content")
    writer.write("d/g", b"")
    writer.symlink("g", "d/l")
    writer.mkdir("empty")


def retarget(writer: Writer) -> None:
    """Let a link point elsewhere."""
    writer.remove("d/l")
    writer.symlink("e", "d/l")


def move(writer: Writer) -> None:
    """Put a file into another directory."""
    writer.remove("d/g")
    writer.write("d/e/g", b"")


CHANGES: dict[str, Callable[[Writer], None]] = {
    "bytes": lambda writer: writer.write("d/e/f", b"c0ntent"),
    "mode": lambda writer: writer.set("d/e/f", mode=0o755),
    "mode of a directory": lambda writer: writer.set("d/e", mode=0o700),
    "mode of the root": lambda writer: writer.set("/", mode=0o700),
    "target": retarget,
    "new name": lambda writer: writer.write("d/n", b""),
    "gone": lambda writer: writer.remove("empty"),
    "moved": move,
    "attribute": lambda writer: os.setxattr(writer.view.lookup("/").location, "user.note", b"x"),
}


@pytest.mark.parametrize("kind", list(CHANGES))
def test_every_change_of_content_changes_the_digest(
    empty: Tree, layer: MakeLayer, kind: str
) -> None:
    base = layer(empty, sample)
    assert tree_digest(layer(base, CHANGES[kind])) != tree_digest(base)


def test_times_and_layers_take_no_part(empty: Tree, layer: MakeLayer) -> None:
    one = layer(empty, sample)
    other = layer(empty, lambda writer: writer.write("gone", b"x"))
    other = layer(other, sample)
    other = layer(other, lambda writer: writer.remove("gone"))
    other = layer(other, lambda writer: writer.set("/", mtime=7, recursive=True))
    assert tree_digest(one) == tree_digest(other)


def test_owners_take_part(empty: Tree, layer: MakeLayer, root: None) -> None:  # noqa: ARG001
    base = layer(empty, sample)
    owned = layer(base, lambda writer: writer.set("d/g", owner=(1, 2)))
    assert tree_digest(owned) != tree_digest(base)


def test_a_directory_has_the_digest_it_has_alone(empty: Tree, layer: MakeLayer) -> None:
    alone = layer(empty, lambda writer: writer.write("a", b"1"))
    inside = layer(empty, lambda writer: writer.write("x/y/a", b"1"))
    assert tree_digest(inside, "x/y") == tree_digest(alone)
    assert tree_digest(inside, "x") != tree_digest(alone)


def test_the_digest_of_a_file(empty: Tree, layer: MakeLayer) -> None:
    tree = layer(empty, sample)
    assert file_digest(tree.lookup("d/e/f").location) == hashlib.sha256(b"content").hexdigest()
    changed = layer(tree, lambda writer: writer.set("d/e/f", mode=0o600))
    assert tree_digest(tree, "d/e/f") != tree_digest(changed, "d/e/f")
    with pytest.raises(PathNotFound):
        tree_digest(tree, "nope")


@pytest.mark.parametrize(
    ("include", "exclude"),
    [
        (["d/e"], []),
        (["d/*/f"], []),
        (["**/f", "empty"], ["d/g"]),
        ([], ["d/e"]),
        ([], ["d/e", "!d/e/f"]),
        (["none"], []),
    ],
)
def test_a_selection_has_the_digest_of_its_copy(
    empty: Tree, layer: MakeLayer, include: list[str], exclude: list[str]
) -> None:
    tree = layer(empty, sample)
    path_filter = PathFilter(tree, "/", include=include, exclude=exclude)
    copy = layer(
        empty, lambda writer: writer.copy(tree, "/", "/", CopyOptions(path_filter=path_filter))
    )
    assert tree_digest(tree, "/", Selection(path_filter=path_filter)) == tree_digest(copy)


def test_times_count_where_they_are_asked_for(empty: Tree, layer: MakeLayer) -> None:
    base = layer(empty, sample)
    later = layer(base, lambda writer: writer.set("d/e/f", mtime=1))
    timed = Selection(times=True)
    assert tree_digest(later) == tree_digest(base)
    assert tree_digest(later, "/", timed) != tree_digest(base, "/", timed)
    assert tree_digest(later, "d/e/f", timed) != tree_digest(base, "d/e/f", timed)


@pytest.mark.parametrize("limit", [Selection(entries=5), Selection(size=6)])
def test_a_large_tree_is_refused_before_it_is_read(
    empty: Tree, layer: MakeLayer, limit: Selection
) -> None:
    tree = layer(empty, sample)
    assert tree_digest(tree, "empty", limit) == tree_digest(tree, "empty")
    with pytest.raises(TooLarge):
        tree_digest(tree, "/", limit)
