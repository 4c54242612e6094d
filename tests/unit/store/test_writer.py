"""A top layer written without a mount is the one that the kernel would have written."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from layerline import command
from layerline.engine.store.epoch import EPOCH
from layerline.engine.store.overlay import is_whiteout
from layerline.engine.store.tree import Tree
from layerline.engine.store.writer import CopyOptions, Writer
from layerline.errors import IsADirectory, NotADirectory, PathError, PathExists, PathNotFound
from layerline.kernel import has_trusted_attributes
from layerline.patterns import Filter

MakeLayer = Callable[[Tree, Callable[[Writer], None]], Tree]


def names(tree: Tree, path: str = "/") -> list[str]:
    """All paths below, as a walk gives them."""
    return [entry.path for entry in tree.walk(path)]


def many(*paths: str) -> Callable[[Writer], None]:
    """Writes files whose content is their path."""

    def change(writer: Writer) -> None:
        for path in paths:
            writer.write(path, path.encode())

    return change


def test_files_and_parents_are_reproducible(empty: Tree, layer: MakeLayer) -> None:
    before = os.umask(0o077)
    try:
        tree = layer(empty, lambda writer: writer.write("a/b/f", b"x"))
    finally:
        os.umask(before)
    found = {entry.path: (oct(entry.mode), entry.stat.st_mtime_ns) for entry in tree.walk()}
    time = EPOCH * 10**9
    assert found == {"/a": ("0o755", time), "/a/b": ("0o755", time), "/a/b/f": ("0o644", time)}


def test_a_path_cannot_leave_the_top(empty: Tree, layer: MakeLayer, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()

    def change(writer: Writer) -> None:
        writer.write("../../x", b"x")
        writer.symlink(str(outside), "absolute")
        writer.symlink("../../outside", "up")
        writer.write("absolute/a", b"a")
        writer.write("up/b", b"b")
        writer.mkdir("up/d")
        writer.remove("up/d")

    tree = layer(empty, change)
    assert list(outside.iterdir()) == []
    assert tree.read(f"{outside}/a") == b"a"
    assert tree.read("outside/b") == b"b"
    assert tree.read("x") == b"x"


def test_write_keeps_what_is_not_given(empty: Tree, layer: MakeLayer) -> None:
    lower = layer(empty, lambda writer: writer.write("f", b"old", mode=0o4711))
    tree = layer(lower, lambda writer: writer.write("f", b"new"))
    assert (tree.read("f"), tree.lookup("f").mode) == (b"new", 0o4711)
    tree = layer(lower, lambda writer: writer.write("f", b"new", mode=0o600))
    assert tree.lookup("f").mode == 0o600
    assert lower.read("f") == b"old"


def test_write_follows_a_link_unless_it_is_to_be_replaced(empty: Tree, layer: MakeLayer) -> None:
    def lower(writer: Writer) -> None:
        writer.write("f", b"old")
        writer.symlink("f", "link")

    base = layer(empty, lower)
    through = layer(base, lambda writer: writer.write("link", b"new"))
    assert (through.read("f"), through.lookup("link", follow=False).is_symlink) == (b"new", True)
    instead = layer(base, lambda writer: writer.write("link", b"new", replace=True))
    assert (instead.read("f"), instead.lookup("link", follow=False).is_file) == (b"old", True)


def test_wrong_kinds_are_refused(empty: Tree, layer: MakeLayer, tmp_path: Path) -> None:
    base = layer(empty, many("d/f"))
    (tmp_path / "source").write_text("x")
    (tmp_path / "top").mkdir()
    writer = Writer(base, tmp_path / "top")
    with pytest.raises(IsADirectory, match="d: is a directory"):
        writer.write("d", b"")
    with pytest.raises(IsADirectory, match="is a directory"):
        writer.write("/", b"")
    with pytest.raises(IsADirectory, match="is a directory"):
        writer.put_file("/", tmp_path / "source")
    with pytest.raises(NotADirectory, match="not a directory"):
        writer.write("d/f/x", b"")
    with pytest.raises(NotADirectory, match="d/f: not a directory"):
        writer.mkdir("d/f")
    with pytest.raises(PathExists, match="d: file exists"):
        writer.symlink("x", "d")
    with pytest.raises(PathNotFound, match="no such file or directory"):
        writer.mkdir("p/q", parents=False)
    with pytest.raises(PathNotFound, match="no such file or directory"):
        writer.set("nope", mode=0o600)
    with pytest.raises(NotADirectory, match="not a directory"):
        writer.copy(base, "d/f", "/x")
    with pytest.raises(PathError, match="too long"):
        writer.remove("x" * 300)
    assert list((tmp_path / "top").iterdir()) == []


def test_modes_of_made_directories(empty: Tree, layer: MakeLayer) -> None:
    def change(writer: Writer) -> None:
        writer.mkdir("a/b", mode=0o1777)
        writer.mkdir("c/d", mode=0o644, parent_mode=0o644)
        writer.mkdir("a", mode=0o700)

    tree = layer(empty, change)
    found = {entry.path: entry.mode for entry in tree.walk()}
    assert found == {"/a": 0o755, "/a/b": 0o1777, "/c": 0o644, "/c/d": 0o644}


def test_a_directory_keeps_its_time_when_something_is_put_into_it(
    empty: Tree, layer: MakeLayer
) -> None:
    def lower(writer: Writer) -> None:
        writer.write("d/f", b"")
        writer.set("d", mtime=1000, mode=0o750)

    base = layer(empty, lower)
    tree = layer(base, lambda writer: writer.write("d/new", b""))
    assert (tree.lookup("d").stat.st_mtime, tree.lookup("d").mode) == (1000, 0o750)
    assert layer(base, lambda w: w.remove("d/f")).lookup("d").stat.st_mtime == 1000
    assert tree.lookup("/").stat.st_mtime == base.lookup("/").stat.st_mtime


def test_the_root_keeps_its_looks(empty: Tree, layer: MakeLayer) -> None:
    base = layer(empty, lambda writer: writer.set("/", mode=0o700, mtime=1000))
    tree = layer(base, many("f"))
    assert (tree.lookup("/").mode, tree.lookup("/").stat.st_mtime) == (0o700, 1000)


def test_remove_hides_only_what_there_is(empty: Tree, layer: MakeLayer) -> None:
    base = layer(empty, many("d/f", "e"))

    def change(writer: Writer) -> None:
        writer.write("own/x", b"")
        for path in ("own", "d", "nope", "nope/deeper", "e/x"):
            writer.remove(path)

    tree = layer(base, change)
    assert names(tree) == ["/e"]
    assert [path.name for path in tree.layers[-1].iterdir()] == ["d"]
    assert is_whiteout((tree.layers[-1] / "d").lstat())
    assert names(layer(base, lambda writer: writer.remove("/"))) == []


def test_a_link_is_removed_and_not_what_it_points_to(empty: Tree, layer: MakeLayer) -> None:
    def lower(writer: Writer) -> None:
        writer.write("real/f", b"")
        writer.symlink("real", "link")

    base = layer(empty, lower)
    assert names(layer(base, lambda w: w.remove("link"))) == ["/real", "/real/f"]
    assert names(layer(base, lambda w: w.remove("link/f"))) == ["/link", "/real"]


def test_set_changes_a_copy_and_never_the_layer_below(empty: Tree, layer: MakeLayer) -> None:
    base = layer(empty, many("d/f", "g"))

    def change(writer: Writer) -> None:
        writer.copy(base, "/", "/copy")
        writer.set("/copy", mode=0o700, mtime=1000, recursive=True)

    tree = layer(base, change)
    for path in ("/copy", "/copy/d", "/copy/d/f", "/copy/g"):
        assert (tree.lookup(path).mode, tree.lookup(path).stat.st_mtime) == (0o700, 1000)
    assert (base.lookup("d/f").mode, base.lookup("d/f").stat.st_mtime) == (0o644, EPOCH)
    assert tree.read("/copy/d/f") == b"d/f"


def test_set_leaves_links_as_they_are(empty: Tree, layer: MakeLayer) -> None:
    def change(writer: Writer) -> None:
        writer.write("f", b"")
        writer.symlink("f", "link")
        writer.set("link", mtime=1000, mode=0o600)

    tree = layer(empty, change)
    assert tree.lookup("f").mode == 0o644
    assert tree.lookup("link", follow=False).stat.st_mtime == 1000


def test_copies_share_files_only_where_nothing_changes(
    empty: Tree, layer: MakeLayer, tmp_path: Path
) -> None:
    base = layer(empty, many("f"))
    entry = base.lookup("f")

    def change(writer: Writer) -> None:
        writer.put_file("same", entry)
        writer.put_file("mode", entry, mode=0o600)
        writer.put_file("time", entry, mtime=5)
        writer.put_file("host", Path(entry.location))
        writer.copy(base, "/", "/own", CopyOptions(share=False))

    tree = layer(base, change)
    inode = entry.stat.st_ino
    assert tree.lookup("same").stat.st_ino == inode
    for path in ("mode", "time", "host", "own/f"):
        assert tree.lookup(path).stat.st_ino != inode
        assert tree.read(path) == b"f"
    assert tree.lookup("time").stat.st_mtime == 5
    assert list(tmp_path.glob("layer-*/.*")) == []


def test_a_merge_replaces_files_and_keeps_the_rest(empty: Tree, layer: MakeLayer) -> None:
    def source_looks(writer: Writer) -> None:
        many("both", "kind/f", "s/in", "was-dir")(writer)
        writer.set("s", mode=0o700)
        writer.set("/", mode=0o711)

    source = layer(empty, source_looks)
    target = layer(empty, many("t/both", "t/old", "t/s/there", "t/kind", "t/was-dir/x"))
    tree = layer(target, lambda writer: writer.copy(source, "/", "t"))
    assert names(tree, "/t") == [
        "/t/both", "/t/kind", "/t/kind/f", "/t/old", "/t/s", "/t/s/in", "/t/s/there", "/t/was-dir"
    ]  # fmt: skip
    assert tree.read("t/both") == b"both"
    assert (tree.lookup("t/s").mode, tree.lookup("t").mode) == (0o700, 0o755)
    fresh = layer(target, lambda writer: writer.copy(source, "/", "n/m"))
    assert (fresh.lookup("n/m").mode, fresh.lookup("n").mode) == (0o711, 0o755)


def test_directories_of_a_merge_have_the_times_of_the_source(empty: Tree, layer: MakeLayer) -> None:
    def set_times(writer: Writer) -> None:
        many("met/new/deep/f", "met/g")(writer)
        for path in ("met/new/deep", "met/new", "met"):
            writer.set(path, mtime=1000)

    source = layer(empty, set_times)
    target = layer(empty, many("met/there"))
    tree = layer(target, lambda writer: writer.copy(source, "/", "/"))
    times = {entry.path: entry.stat.st_mtime for entry in tree.walk() if entry.is_dir}
    assert times == dict.fromkeys(("/met", "/met/new", "/met/new/deep"), 1000)
    assert tree.lookup("/").stat.st_mtime == target.lookup("/").stat.st_mtime


def test_a_link_that_leads_two_directories_of_a_merge_into_one_loses_nothing(
    empty: Tree, layer: MakeLayer
) -> None:
    source = layer(empty, many("a/f", "a/s/one", "b/f", "b/s/two"))
    target = layer(empty, lambda writer: writer.symlink("a", "b"))
    tree = layer(
        target, lambda writer: writer.copy(source, "/", "/", CopyOptions(through_links=True))
    )
    assert names(tree) == ["/a", "/a/f", "/a/s", "/a/s/one", "/a/s/two", "/b"]
    assert tree.lookup("b", follow=False).is_symlink


def test_a_filtered_merge_makes_only_the_directories_that_are_needed(
    empty: Tree, layer: MakeLayer
) -> None:
    source = layer(empty, many("a.txt", "b.md", "d/c.txt", "d/e/g.md", "h/i.md"))

    def copy_filtered(**patterns: list[str]) -> list[str]:
        wanted = Filter(**patterns)
        return names(
            layer(
                empty, lambda writer: writer.copy(source, "/", "/", CopyOptions(path_filter=wanted))
            )
        )

    assert copy_filtered(include=["**/*.txt"]) == ["/a.txt", "/d", "/d/c.txt"]
    assert copy_filtered(exclude=["**/*.md"]) == ["/a.txt", "/d", "/d/c.txt", "/d/e", "/h"]
    assert copy_filtered(exclude=["d", "!d/e"]) == [
        "/a.txt", "/b.md", "/d", "/d/e", "/d/e/g.md", "/h", "/h/i.md"
    ]  # fmt: skip


def test_mode_is_for_everything_copied_but_links(empty: Tree, layer: MakeLayer) -> None:
    def lower(writer: Writer) -> None:
        writer.write("s/f", b"")
        writer.symlink("/no/such", "s/l")

    source = layer(empty, lower)
    tree = layer(empty, lambda writer: writer.copy(source, "/", "t", CopyOptions(mode=0o700)))
    assert {tree.lookup(path).mode for path in ("t", "t/s", "t/s/f")} == {0o700}
    assert tree.lookup("t/s/l", follow=False).target == "/no/such"


def test_hard_links_inside_a_source_are_kept(empty: Tree, layer: MakeLayer) -> None:
    source = layer(empty, many("d/one"))
    os.link(source.layers[-1] / "d" / "one", source.layers[-1] / "two")
    tree = layer(empty, lambda writer: writer.copy(source, "/", "/", CopyOptions(mode=0o600)))
    one, two = tree.lookup("d/one").stat, tree.lookup("two").stat
    assert (one.st_ino, one.st_nlink) == (two.st_ino, 2)
    assert one.st_ino != source.lookup("two").stat.st_ino


def test_sparse_files_stay_sparse(empty: Tree, layer: MakeLayer, tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.seek(1 << 30)
        file.write(b"end")
        file.truncate((1 << 30) + 10_000)
    tree = layer(empty, lambda writer: writer.put_file("s", tmp_path / "sparse"))
    info = tree.lookup("s").stat
    assert info.st_size == (1 << 30) + 10_000
    assert info.st_blocks * 512 < 1 << 20
    with tree.open("s") as file:
        file.seek((1 << 30) - 2)
        assert file.read(6) == b"\0\0end\0"


@pytest.mark.usefixtures("device_nodes", "trusted_attributes")
def test_special_files_owners_and_attributes_survive_a_copy(empty: Tree, layer: MakeLayer) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    source = layer(empty, many("suid", "cap", "d/f"))
    top = source.layers[-1]
    os.chown(top / "suid", 12, 34)
    (top / "suid").chmod(0o6755)
    os.setxattr(top / "cap", "security.capability", capability)
    os.setxattr(top / "d", "user.note", b"kept")
    os.setxattr(top / "d", "trusted.overlay.opaque", b"y")
    os.mkfifo(top / "pipe")
    os.mknod(top / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))

    def change(writer: Writer) -> None:
        writer.copy(source, "/", "/", CopyOptions(owner=(7, 8)))
        writer.copy(source, "/", "/same", CopyOptions(share=False))

    tree = layer(empty, change)
    suid = tree.lookup("suid")
    assert (suid.stat.st_uid, suid.stat.st_gid, suid.mode) == (7, 8, 0o6755)
    assert tree.lookup("same/suid").stat.st_uid == 12
    assert os.getxattr(tree.lookup("cap").location, "security.capability") == capability
    assert os.listxattr(tree.lookup("d").location) == ["user.note"]
    assert stat.S_ISFIFO(tree.lookup("pipe").stat.st_mode)
    assert tree.lookup("null").stat.st_rdev == os.makedev(1, 3)


def test_set_owner_keeps_setuid_and_capabilities(
    empty: Tree,
    layer: MakeLayer,
    root: None,  # noqa: ARG001
) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    base = layer(empty, lambda writer: writer.write("f", b"", mode=0o4755))
    os.setxattr(base.layers[-1] / "f", "security.capability", capability)
    tree = layer(base, lambda writer: writer.set("f", owner=(12, 34)))
    entry = tree.lookup("f")
    assert (entry.stat.st_uid, entry.mode) == (12, 0o4755)
    assert os.getxattr(entry.location, "security.capability") == capability


PLACES = ["a", "b", "a/c", "a/c/d", "b/e", "a/f", "b/f/g", "h"]


def random_change(chance: random.Random) -> Callable[[Writer], None]:
    """A few operations on paths that often collide."""

    def change(writer: Writer) -> None:
        for _ in range(6):
            place = chance.choice(PLACES)
            try:
                match chance.randrange(6):
                    case 0:
                        writer.mkdir(place, mode=0o750)
                    case 1:
                        writer.write(place, str(chance.random()).encode())
                    case 2:
                        writer.symlink(chance.choice(PLACES), place)
                    case 3:
                        writer.copy(
                            writer.view,
                            "a",
                            f"copy-{chance.randrange(2)}",
                            CopyOptions(share=False),
                        )
                    case _:
                        writer.remove(place)
            except PathError:
                continue  # the operations are random; what is refused changes nothing

    return change


def read_mounted(top: Path) -> dict[str, tuple[int, int, bytes | str]]:
    """Mode, time and content of every entry of a mounted file system."""
    found: dict[str, tuple[int, int, bytes | str]] = {}
    for path in sorted(top.rglob("*")):
        info = path.lstat()
        content: bytes | str = b""
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        found[f"/{path.relative_to(top)}"] = (info.st_mode, info.st_mtime_ns, content)
    return found


def read_tree(tree: Tree) -> dict[str, tuple[int, int, bytes | str]]:
    """The same of a tree, by walking and by looking up."""
    found: dict[str, tuple[int, int, bytes | str]] = {}
    for entry in tree.walk():
        assert tree.lookup(entry.path, follow=False).parts == entry.parts
        content: bytes | str = b""
        if entry.is_symlink:
            content = entry.target
        elif entry.is_file:
            content = tree.read(entry.path)
        found[entry.path] = (entry.stat.st_mode, entry.stat.st_mtime_ns, content)
    return found


@pytest.mark.parametrize("seed", range(12))
def test_many_layers_hold_what_one_layer_would(empty: Tree, layer: MakeLayer, seed: int) -> None:
    chance = random.Random(seed)
    many_layers = empty
    for _ in range(6):
        many_layers = layer(many_layers, random_change(chance))
    chance = random.Random(seed)

    def all_at_once(writer: Writer) -> None:
        for _ in range(6):
            random_change(chance)(writer)

    assert read_tree(many_layers) == read_tree(layer(empty, all_at_once)) != {}


@pytest.mark.parametrize("seed", range(12))
def test_the_kernel_sees_the_same_tree(
    empty: Tree,
    layer: MakeLayer,
    tmp_path: Path,
    seed: int,
    overlay: None,  # noqa: ARG001
) -> None:
    chance = random.Random(seed)
    tree = empty
    for _ in range(6):
        tree = layer(tree, random_change(chance))
    merged = tmp_path / "merged"
    merged.mkdir()
    lower = ":".join(map(str, reversed(tree.layers)))
    options = f"lowerdir={lower}" + ("" if has_trusted_attributes() else ",userxattr")
    command.run(["mount", "-t", "overlay", "overlay", "-o", options, merged])
    try:
        assert read_mounted(merged) == read_tree(tree)
    finally:
        command.run(["umount", merged])
    assert read_tree(tree) != {}
