"""A tree is removed whatever is in it, and nothing else is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from layerline.engine.store.rmtree import remove_tree

if TYPE_CHECKING:
    from pathlib import Path


def test_everything_below_goes(tmp_path: Path) -> None:
    place = tmp_path / "t"
    (place / "d" / "e").mkdir(parents=True)
    (place / "d" / "f").write_text("x")
    os.mkfifo(place / "d" / "pipe")
    (place / "closed").mkdir(mode=0)
    remove_tree(place)
    assert not place.exists()
    remove_tree(place)
    remove_tree(tmp_path / "no" / "parent")


def test_links_are_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("x")
    place = tmp_path / "t"
    place.mkdir()
    (place / "link").symlink_to(victim)
    (tmp_path / "top").symlink_to(victim)
    remove_tree(place)
    remove_tree(tmp_path / "top")
    assert (victim / "file").read_text() == "x"
    assert not (tmp_path / "top").is_symlink()


def test_a_tree_deeper_than_any_path_goes(tmp_path: Path) -> None:
    top = tmp_path / "t"
    top.mkdir()
    handle = os.open(top, os.O_RDONLY)
    for _ in range(700):
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    remove_tree(top)
    assert not top.exists()
