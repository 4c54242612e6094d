"""Layers read as one tree, and no link leads out of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from layerline.engine.store.tree import Tree, clean
from layerline.engine.store.writer import Writer
from layerline.errors import IsADirectory, NotADirectory, PathError, PathNotFound

if TYPE_CHECKING:
    from pathlib import Path

MakeLayer = Callable[[Tree, Callable[[Writer], None]], Tree]


def names(tree: Tree, path: str = "/") -> list[str]:
    """All paths below, as a walk gives them."""
    return [entry.path for entry in tree.walk(path)]


@pytest.mark.parametrize(
    ("path", "expected"),
    [("", "/"), ("/", "/"), ("a/./b//c/", "/a/b/c"), ("../../x", "/x"), ("a/../../b", "/b")],
)
def test_paths_are_cleaned_to_stay_inside(path: str, expected: str) -> None:
    assert clean(path) == expected


def test_upper_layers_win_and_directories_merge(empty: Tree, layer: MakeLayer) -> None:
    def lower(writer: Writer) -> None:
        for path in ("d/both", "d/old", "f", "gone/x"):
            writer.write(path, b"lower")

    def upper(writer: Writer) -> None:
        writer.write("d/both", b"upper")
        writer.write("d/new", b"upper")
        writer.remove("gone")

    tree = layer(layer(empty, lower), upper)
    assert names(tree) == ["/d", "/d/both", "/d/new", "/d/old", "/f"]
    assert tree.read("/d/both") == b"upper"
    assert tree.find("/gone/x") is None


def test_names_come_in_the_order_of_their_bytes(empty: Tree, layer: MakeLayer) -> None:
    unsorted = ["é", "a-b", "B", "a", "_z", ".h", "a.b", os.fsdecode(b"\xff")]

    def change(writer: Writer) -> None:
        for name in unsorted:
            writer.write(name, b"")

    found = [entry.name for entry in layer(empty, change).scan("/")]
    assert found == sorted(unsorted, key=os.fsencode)


def test_links_are_followed_inside_the_tree(empty: Tree, layer: MakeLayer, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the host")

    def change(writer: Writer) -> None:
        writer.write("a/b/f", b"inside")
        writer.write("secret", b"of the tree")
        writer.symlink("/a/b", "absolute")
        writer.symlink("../a/./b", "a/relative")
        writer.symlink("/secret", "a/b/root")
        writer.symlink("../../../../../../secret", "a/b/up")
        writer.symlink(f"/../..{tmp_path}/secret", "out")
        writer.symlink("dangling", "dangling-link")

    tree = layer(empty, change)
    assert tree.read("absolute/f") == b"inside"
    assert tree.read("a/relative/f") == b"inside"
    assert tree.read("a/b/up") == b"of the tree"
    assert tree.read("a/b/root") == b"of the tree"
    assert tree.lookup("absolute/f").path == "/a/b/f"
    assert tree.lookup("absolute", follow=False).target == "/a/b"
    for missing in ("out", "dangling-link", "dangling-link/x"):
        with pytest.raises(PathNotFound, match="no such file or directory"):
            tree.lookup(missing)
    assert tree.find("out") is None


def test_a_loop_of_links_ends(empty: Tree, layer: MakeLayer) -> None:
    def change(writer: Writer) -> None:
        writer.symlink("b", "a")
        writer.symlink("a", "b")

    with pytest.raises(PathError, match="too many levels"):
        layer(empty, change).lookup("a/x")


def test_errors_speak_as_posix_does(empty: Tree, layer: MakeLayer) -> None:
    tree = layer(empty, lambda writer: writer.write("d/f", b"x"))
    with pytest.raises(PathNotFound, match=r"^nope: no such file or directory$"):
        tree.lookup("nope")
    with pytest.raises(NotADirectory, match="not a directory"):
        tree.lookup("d/f/x")
    with pytest.raises(NotADirectory, match="not a directory"):
        tree.scan("d/f")
    with pytest.raises(IsADirectory, match="is a directory"):
        tree.read("d")
    with pytest.raises(PathError, match="file name too long"):
        tree.lookup("x" * 300)
    with pytest.raises(PathError, match="NUL"):
        tree.lookup("x\0y")
    assert tree.find("d/f/x") is None


def test_a_pipe_is_not_opened(empty: Tree, layer: MakeLayer) -> None:
    tree = layer(empty, lambda writer: writer.mkdir("d"))
    os.mkfifo(tree.layers[-1] / "pipe")
    with pytest.raises(PathError, match="not a regular file"):
        tree.read("pipe")


def test_a_file_is_read_up_to_a_limit(empty: Tree, layer: MakeLayer) -> None:
    tree = layer(empty, lambda writer: writer.write("f", b"0123456789"))
    assert tree.read("f", limit=4) == b"0123"


def test_a_directory_made_again_hides_the_old_one(empty: Tree, layer: MakeLayer) -> None:
    old = layer(empty, lambda writer: writer.write("d/s/old", b""))
    gone = layer(old, lambda writer: writer.remove("d"))
    again = layer(gone, lambda writer: writer.write("d/s/new", b""))
    assert names(gone) == []
    assert names(again) == ["/d", "/d/s", "/d/s/new"]


def test_a_file_over_a_directory_and_reverse(empty: Tree, layer: MakeLayer) -> None:
    lower = layer(empty, lambda writer: writer.write("x/old", b""))
    between = layer(layer(lower, lambda w: w.remove("x")), lambda w: w.write("x", b"file"))
    above = layer(layer(between, lambda w: w.remove("x")), lambda w: w.write("x/new", b""))
    assert names(between) == ["/x"]
    assert names(above) == ["/x", "/x/new"]
