"""Path filters: recorded cases of gitignore, and hostile ignore files."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from layerline.engine.store.hostwalk import open_root, walk
from layerline.engine.store.path_filter import PathFilter
from layerline.engine.store.tree import Tree
from layerline.engine.store.writer import CopyOptions, Writer

if TYPE_CHECKING:
    from pathlib import Path

MakeLayer = Callable[[Tree, Callable[[Writer], None]], Tree]
RULES = "*.log\n!keep.log\nbuild/\n/only-root\n# note\n\nsub/*.tmp\n"
FILES = {
    ".gitignore": RULES, "a.log": "", "keep.log": "", "src/b.log": "", "build/x": "",
    "src/build/y": "", "only-root": "", "src/only-root": "", "sub/t.tmp": "",
    "src/sub/t.tmp": "", "z.txt": "",
}  # fmt: skip


def in_tree(
    empty: Tree,
    layer: MakeLayer,
    files: dict[str, str],
    include: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
) -> list[str]:
    """The files kept below /root of a tree, with gitignore."""

    def fill(writer: Writer) -> None:
        for path, text in files.items():
            writer.write(f"root/{path}", text.encode())

    source = layer(empty, fill)
    wanted = PathFilter(source, "/root", include=include, exclude=exclude, gitignore=True)
    copy = layer(
        empty, lambda writer: writer.copy(source, "/root", "/", CopyOptions(path_filter=wanted))
    )
    return [entry.path[1:] + "/" * entry.is_dir for entry in copy.walk()]


def on_host(root: Path, *, gitignore: bool = True, **patterns: list[str]) -> list[str]:
    """What a walk over a directory of the host keeps."""
    selection = PathFilter.of_host(root, gitignore=gitignore, **patterns)
    with open_root(root) as handle:
        return [seen.path + "/" * seen.is_dir for seen in walk(handle, selection)[1:]]


def fill(root: Path, files: dict[str, str]) -> None:
    """Write files below a directory of the host."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def test_rules_for_names_anchors_directories_and_negation(empty: Tree, layer: MakeLayer) -> None:
    assert in_tree(empty, layer, FILES) == [
        ".gitignore", "keep.log", "src/", "src/only-root", "src/sub/", "src/sub/t.tmp", "sub/",
        "z.txt",
    ]  # fmt: skip


def test_a_nested_file_counts_in_its_directory(empty: Tree, layer: MakeLayer) -> None:
    files = {
        ".gitignore": "*.a\n", "s/.gitignore": "!x.a\n*.b\n", "x.a": "", "y.b": "", "s/x.a": "",
        "s/y.a": "", "s/y.b": "",
    }  # fmt: skip
    assert in_tree(empty, layer, files) == [".gitignore", "s/", "s/.gitignore", "s/x.a", "y.b"]


def test_nothing_comes_back_from_an_ignored_directory(empty: Tree, layer: MakeLayer) -> None:
    files = {".gitignore": "d/\n!d/keep\n", "d/keep": "", "d/.gitignore": "!keep\n"}
    assert in_tree(empty, layer, files) == [".gitignore"]


def test_patterns_and_rules_together(empty: Tree, layer: MakeLayer) -> None:
    files = {".gitignore": "*.log\n", "a.log": "", "b.txt": "", "c.txt": ""}
    assert in_tree(empty, layer, files, exclude=("c.txt",)) == [".gitignore", "b.txt"]
    assert in_tree(empty, layer, files, include=("a.log", "b.txt")) == ["b.txt"]


def test_the_host_keeps_what_git_itself_needs(tmp_path: Path) -> None:
    fill(
        tmp_path,
        {
            "a.txt": "", "b.log": "", "d/c.txt": "", "d/e/f.log": "", ".hidden": "",
            ".git/HEAD": "", ".gitignore": "*.log\n/d/c.txt\n",
        },
    )  # fmt: skip
    expected = [".git/", ".git/HEAD", ".gitignore", ".hidden", "a.txt", "d/", "d/e/"]
    assert on_host(tmp_path) == expected
    assert "b.log" in on_host(tmp_path, gitignore=False)


def test_rules_above_the_directory_count_up_to_the_git_root(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    fill(tmp_path, {".gitignore": "*\n"})
    fill(
        repository,
        {
            ".git/HEAD": "", ".gitignore": "*.log\n/a/b/x\n/b/y\n", "a/b/x": "", "a/b/y": "",
            "a/b/z.log": "",
        },
    )  # fmt: skip
    assert on_host(repository / "a" / "b") == ["y"]


def test_patterns_that_lead_out_are_not_used_on_the_host(tmp_path: Path) -> None:
    fill(tmp_path, {"a": "", "b": ""})
    assert on_host(tmp_path, include=["/a"]) == ["a", "b"]
    assert on_host(tmp_path, exclude=["../b", "/a"]) == ["a", "b"]
    assert on_host(tmp_path, exclude=["a"]) == ["b"]


def test_a_hostile_ignore_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text("*\n")
    root = tmp_path / "root"
    fill(root, {"a": "", "pipe/b": "", "dir/.gitignore/c": ""})
    (root / ".gitignore").symlink_to(tmp_path / "rules")
    os.mkfifo(root / "pipe" / ".gitignore")
    assert on_host(root) == [
        ".gitignore", "a", "dir/", "dir/.gitignore/", "dir/.gitignore/c", "pipe/", "pipe/b"
    ]  # fmt: skip


def test_rules_in_any_encoding_do_no_harm(tmp_path: Path) -> None:
    fill(tmp_path, {"a.log": "", "b": ""})
    (tmp_path / ".gitignore").write_bytes(b"\xff\xfe\n*.log\n")
    assert on_host(tmp_path) == [".gitignore", "b"]
