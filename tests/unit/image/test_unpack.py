"""Untrusted layers: valid ones are unpacked completely, hostile ones reach nothing outside."""

from __future__ import annotations

import contextlib
import os
import resource
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.engine.image import tarwriter
from layerline.engine.image.pack import pack
from layerline.engine.image.tarwriter import Member
from layerline.engine.image.unpack import Limits, inherit, limit_expansion, unpack
from layerline.engine.store import overlay
from layerline.engine.store.epoch import EPOCH
from layerline.engine.store.tree import Tree
from layerline.errors import ArchiveInvalid
from layerline.settings import python
from tests.unit.image.conftest import Arena, folder, hardlink, member, symlink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
pytestmark = pytest.mark.usefixtures("root")

UP = "../" * 12


def victim(arena: Arena) -> str:
    return str(arena.victim)


def names_in(arena: Arena) -> list[bytes]:
    return sorted(os.fsencode(path.name) for path in arena.target.iterdir())


def number(block: bytes, start: int, end: int, text: bytes) -> bytes:
    """A header with a field replaced and the checksum made right again."""
    changed = block[:start] + text + block[end:512]
    blank = changed[:148] + b" " * 8 + changed[156:]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:] + block[512:]


def pax(records: bytes, flag: str = "x") -> bytes:
    return member("PaxHeader", records, kind=flag)


def record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    for length in range(len(body), len(body) + 10):
        if len(str(length)) + len(body) == length:
            return str(length).encode() + body
    raise AssertionError


def assert_refused(arena: Arena, *pieces: bytes, match: str) -> None:
    with pytest.raises(ArchiveInvalid, match=match):
        arena.unpack(*pieces)


HOSTILE: dict[str, tuple[Callable[[Arena], list[bytes]], str]] = {
    "01 dots above": (lambda a: [member(UP + victim(a)[1:] + "/pwn", b"x")], r"'\.\.' in a name"),
    "03 absolute dots": (lambda _: [member("/../../victim", b"x")], r"'\.\.' in a name"),
    "10 hard link above": (lambda _: [hardlink("h", "../../../victim/secret")], r"'\.\.'"),
    "11 hard link absolute": (lambda a: [hardlink("h", victim(a) + "/secret")], "missing"),
    "12 hard link through link": (
        lambda a: [symlink("l", victim(a)), hardlink("h", "l/secret")],
        "missing",
    ),
    "14 hard link to directory": (
        lambda _: [folder("d"), hardlink("h", "d"), member("h/f", b"x")],
        "a directory",
    ),
    "16 hard link before target": (
        lambda _: [hardlink("h", "t"), member("t")],
        "missing from the layer",
    ),
    "17 root as link": (lambda a: [symlink("./", victim(a)), member("pwn")], "root of a layer"),
    "18 root as link, dot": (lambda a: [symlink(".", victim(a)), member("pwn")], "root of a layer"),
    "19 whiteout of parent": (lambda _: [member(".wh...")], "whiteout"),
    "20 whiteout of root": (lambda _: [member(".wh..")], "whiteout"),
    "21 whiteout of nothing": (lambda _: [member(".wh.")], "whiteout"),
    "22 whiteout of parent below": (lambda _: [member("etc/.wh...")], "whiteout"),
    "28 fake whiteout": (lambda _: [member("gone", kind="3", device=(0, 0))], "device"),
    "36 owner out of range": (lambda _: [member("f", uid=2**31 + 5, gid=2**32 - 1)], "owner"),
    "38 NUL in a name": (lambda _: [pax(record(b"path", b"a\0b")), member("f")], "NUL"),
    "39 deep path": (lambda _: [member("a/" * 1500 + "f")], "nested deeper"),
    "39 long part": (lambda _: [member("a" * 300)], "more than 255 bytes"),
    "39 long name": (lambda _: [member("a/" * 4000 + "f")], "a name has"),
    "40 link loop as parent": (
        lambda _: [symlink("x", "y"), symlink("y", "x"), member("x/f")],
        "too many links",
    ),
    "41 file as parent": (
        lambda _: [member("n", b"x"), member("n/a/b", b"x")],
        "its parent is a file",
    ),
    "43 negative size": (
        lambda _: [number(member("f"), 124, 136, b"\xff" * 12)],
        "negative",
    ),
    "43 text as size": (lambda _: [number(member("f"), 124, 136, b"-00000000010")], "not a number"),
    "44 PAX path": (lambda _: [pax(record(b"path", b"../../pwn")), member("f")], r"'\.\.'"),
    "44 PAX linkpath": (
        lambda _: [pax(record(b"linkpath", b"../../../victim/secret")), hardlink("h", "f")],
        r"'\.\.'",
    ),
    "44 broken PAX length": (lambda _: [pax(b"99 path=x\n"), member("f")], "invalid PAX record"),
    "44 huge PAX": (lambda _: [pax(b"x" * (2 << 20)), member("f")], "extension"),
    "45 sparse by kind": (lambda _: [member("s", kind="S")], "old format"),
    "50 path of links beyond PATH_MAX": (
        lambda _: [
            *(symlink("/".join(["d" * 200] * n) + "/l", "d" * 200) for n in range(1, 20)),
            symlink("esc", "/".join(["d" * 200 + "/l"] * 25) + "/../" * 60 + "etc"),
            member("esc/passwd2", b"x"),
        ],
        "",
    ),
    "unknown kind": (lambda _: [member("f", kind="Z")], "unknown kind"),
    "wrong checksum": (lambda _: [b"g" + member("f")[1:]], "checksum"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_layers_are_refused_by_name(arena: Arena, case: str) -> None:
    pieces, match = HOSTILE[case]
    began = time.monotonic()
    if match:
        assert_refused(arena, *pieces(arena), match=match)
    else:
        with contextlib.suppress(ArchiveInvalid):
            arena.unpack(*pieces(arena))
    assert time.monotonic() - began < 2


def test_02_an_absolute_name_stays_inside(arena: Arena) -> None:
    arena.unpack(member("/victim/pwn", b"x"))
    assert (arena.target / "victim" / "pwn").read_bytes() == b"x"


INSIDE: dict[str, Callable[[Arena], list[bytes]]] = {
    "04 absolute link": lambda a: [symlink("l", victim(a)), member("l/pwn", b"x")],
    "05 relative link": lambda _: [symlink("l", "../../../victim"), member("l/pwn", b"x")],
    "06 chain of links": lambda a: [
        symlink("l1", "l2"),
        symlink("l2", "l3"),
        symlink("l3", victim(a)),
        member("l1/pwn", b"x"),
    ],
    "07 link below, new directory": lambda _: [
        folder("d"),
        symlink("d/l", UP + "victim"),
        folder("d/l/new"),
        member("d/l/new/pwn", b"x"),
    ],
    "08 directory becomes a link": lambda _: [
        folder("d"),
        member("d/f", b"x"),
        symlink("d", "/"),
        member("d/victim/pwn", b"x"),
    ],
    "09 link as final part": lambda a: [
        symlink("f", victim(a) + "/secret"),
        member("f", b"new"),
    ],
    "13 hard link then truncate": lambda _: [
        member("a", b"one"),
        hardlink("b", "a"),
        member("b", b"two"),
    ],
    "15 hard link to a link": lambda a: [
        symlink("l", victim(a) + "/secret"),
        hardlink("h", "l", mode=0o777),
    ],
    "23 whiteout through a link": lambda a: [symlink("l", victim(a)), member("l/.wh.secret")],
    "24 opaque through a link": lambda a: [symlink("l", victim(a)), member("l/.wh..wh..opq")],
    "25 opaque next to a link": lambda a: [symlink("l", victim(a)), member(".wh..wh..opq")],
    "42 directory metadata through a link": lambda a: [
        folder("d", mode=0o777, uid=77),
        symlink("d", victim(a)),
    ],
}


@pytest.mark.parametrize("case", INSIDE)
def test_links_lead_nowhere_outside(arena: Arena, case: str) -> None:
    arena.unpack(*INSIDE[case](arena))


def test_08_what_is_put_into_a_replaced_directory_follows_the_link_inside(arena: Arena) -> None:
    arena.unpack(*INSIDE["08 directory becomes a link"](arena))
    assert (arena.target / "victim" / "pwn").read_bytes() == b"x"


def test_13_a_new_file_does_not_write_through_a_hard_link(arena: Arena) -> None:
    arena.unpack(*INSIDE["13 hard link then truncate"](arena))
    assert (arena.target / "a").read_bytes() == b"one"
    assert (arena.target / "b").read_bytes() == b"two"


def test_26_the_longest_name_can_be_whited_out(arena: Arena) -> None:
    arena.unpack(member(".wh." + "n" * 251))
    assert overlay.is_whiteout((arena.target / ("n" * 251)).lstat())


def test_29_a_file_replaces_a_pipe_without_writing_into_it(arena: Arena) -> None:
    arena.unpack(member("p", kind=tarwriter.FIFO), member("p", b"data"))
    assert (arena.target / "p").read_bytes() == b"data"


def test_30_setuid_and_setgid_survive(arena: Arena) -> None:
    arena.unpack(member("su", b"x", mode=0o6755, uid=0, gid=5))
    status = (arena.target / "su").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o6755, 5)


@pytest.mark.usefixtures("trusted_attributes")
def test_31_to_35_only_attributes_that_are_content_are_set(arena: Arena) -> None:
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    attributes = {
        b"trusted.overlay.opaque": b"y",
        b"trusted.overlay.redirect": b"/etc",
        b"user.overlay.opaque": b"y",
        b"security.selinux": b"label",
        b"security.ima": b"x",
        b"user.kept": b"yes",
        b"security.capability": capability,
    }
    arena.unpack(member("f", b"x", xattrs=attributes), folder("d", xattrs=attributes))
    for name in ("f", "d"):
        found = set(os.listxattr(arena.target / name))
        # As root, overlayfs reads trusted.overlay.* alone; containerd, too, sets user.* as data.
        assert found - {"security.capability"} == {"user.kept", "user.overlay.opaque"}
    assert os.getxattr(arena.target / "f", "security.capability") == capability


@pytest.mark.usefixtures("large_owners")
def test_36_large_owners_are_kept(arena: Arena) -> None:
    arena.unpack(member("f", uid=2**31 + 5, gid=7))
    assert (arena.target / "f").stat().st_uid == 2**31 + 5


def test_37_names_that_differ_in_case_are_two(arena: Arena) -> None:
    arena.unpack(member("name", b"1"), member("NAME", b"2"))
    assert (arena.target / "name").read_bytes() == b"1"
    assert (arena.target / "NAME").read_bytes() == b"2"


def test_38_names_are_bytes(arena: Arena) -> None:
    names = [b"line\nbreak", b"not \xff utf-8", "ünï".encode()]
    arena.unpack(*(member(name, b"x") for name in names))
    assert names_in(arena) == sorted(names)


def test_42_a_truncated_tar_is_refused(arena: Arena) -> None:
    whole = member("f", b"x" * 2000)
    for length in (100, 512, 1000, len(whole) - 600):
        with pytest.raises(ArchiveInvalid, match="cut short"):
            unpack(iter([whole[:length]]), arena.target)


def test_46_a_global_header_changes_nothing(arena: Arena) -> None:
    arena.unpack(pax(record(b"path", b"elsewhere"), "g"), member("f", b"x"), member("g", b"y"))
    assert names_in(arena) == [b"f", b"g"]


def test_47_what_follows_the_end_is_read_and_ignored(arena: Arena) -> None:
    chunks = iter([member("f", b"x") + tarwriter.END, b"garbage" * 1000, member("g")])
    unpack(chunks, arena.target)
    assert next(chunks, None) is None
    assert names_in(arena) == [b"f"]


def test_48_a_bomb_is_refused_in_bounded_memory() -> None:
    limits = Limits(free_expansion=8 << 20)
    zeros = (bytes(1 << 20) for _ in range(1 << 30))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ArchiveInvalid, match="expands more than 200-fold"):
        for _ in limit_expansion(zeros, 10_000, limits):
            pass
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_48_the_size_is_bounded() -> None:
    with pytest.raises(ArchiveInvalid, match="more than 5 bytes"):
        list(limit_expansion(iter([b"123", b"456"]), 6, Limits(size=5)))


def test_49_the_number_of_entries_is_bounded(arena: Arena) -> None:
    with pytest.raises(ArchiveInvalid, match="more than 100 entries"):
        arena.unpack(*(member(f"f{n}") for n in range(101)), limits=Limits(entries=100))


SWAPPER = """
import ctypes, sys, time
place, link = (word.encode() for word in sys.argv[1:])
libc = ctypes.CDLL(None)
print(flush=True)
count, end = 0, time.monotonic() + 1.5
while time.monotonic() < end:
    for _ in range(100):
        count += libc.renameat2(-100, place, -100, link, 2) == 0
print(count)
"""


def test_races_of_another_process_reach_nothing(arena: Arena) -> None:
    place, link = arena.target / "d", arena.target / "link"
    place.mkdir()
    link.symlink_to(arena.victim)
    pieces = [member(f"d/{n}/pwn", b"x", mode=0o777) for n in range(20)]
    with command.start([python(), "-c", SWAPPER, place, link], stdout=command.PIPE) as swapper:
        assert swapper.stdout is not None
        swapper.stdout.readline()
        while swapper.poll() is None:
            with contextlib.suppress(ArchiveInvalid):
                arena.unpack(*pieces, member("d/.wh.secret"), member("d/.wh..wh..opq"))
        assert int(swapper.stdout.read()) > 10_000


def test_metadata_arrives(arena: Arena) -> None:
    arena.unpack(
        folder("d", mode=0o750, uid=3, gid=4, mtime=500),
        member("d/f", b"text", mode=0o640, uid=1, gid=2, mtime=600),
        symlink("d/l", "f", uid=5, mtime=700),
        hardlink("d/h", "d/f"),
    )
    directory, file = (arena.target / "d").stat(), (arena.target / "d/f").stat()
    assert (stat.S_IMODE(directory.st_mode), directory.st_uid, directory.st_gid) == (0o750, 3, 4)
    assert directory.st_mtime == 500
    assert (stat.S_IMODE(file.st_mode), file.st_uid, file.st_gid) == (0o640, 1, 2)
    assert (file.st_mtime, file.st_nlink) == (600, 2)
    assert (arena.target / "d/l").lstat().st_mtime == 700
    assert (arena.target / "d/l").readlink() == Path("f")


WHITEOUT_ORDERS = {
    "whiteout first": [member(".wh.d"), folder("d"), member("d/f", b"x")],
    "whiteout last": [folder("d"), member("d/f", b"x"), member(".wh.d")],
    "directory implied": [member(".wh.d"), member("d/f", b"x")],
}


@pytest.mark.parametrize("order", WHITEOUT_ORDERS)
def test_an_entry_wins_over_a_whiteout_of_its_layer(arena: Arena, order: str) -> None:
    arena.unpack(*WHITEOUT_ORDERS[order])
    assert (arena.target / "d" / "f").read_bytes() == b"x"
    assert overlay.is_opaque(str(arena.target / "d"))


@pytest.mark.parametrize("pieces", [(0, 1), (1, 0)])
def test_a_file_wins_over_its_whiteout(arena: Arena, pieces: tuple[int, int]) -> None:
    both = [member(".wh.f"), member("f", b"new")]
    arena.unpack(*(both[n] for n in pieces))
    assert (arena.target / "f").read_bytes() == b"new"


def test_whiteouts_and_opaque_directories_are_overlayfs_own(arena: Arena) -> None:
    arena.unpack(folder("d"), member("d/.wh..wh..opq"), member("d/.wh.f"), member(".wh..wh.plnk"))
    assert overlay.is_opaque(str(arena.target / "d"))
    assert overlay.is_whiteout((arena.target / "d/f").lstat())
    assert names_in(arena) == [b"d"]


def test_directories_that_are_not_named_keep_what_they_have_below(
    arena: Arena, tmp_path: Path
) -> None:
    below = tmp_path / "below"
    (below / "tmp").mkdir(parents=True)
    (below / "tmp").chmod(0o1777)
    os.utime(below / "tmp", (4321, 4321))
    done = arena.unpack(member("tmp/x/f", b"x"))
    assert done.implied == (b"tmp", b"tmp/x")
    inherit(arena.target, done.implied, Tree((below,)))
    status = (arena.target / "tmp").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o1777, 4321)
    assert (arena.target / "tmp/x").stat().st_mtime == EPOCH


def test_what_was_packed_unpacks_to_the_same(arena: Arena, tmp_path: Path) -> None:
    arena.unpack(
        folder("d", mode=0o700, uid=9, mtime=5),
        member("d/" + "n" * 150, b"x" * 3000, xattrs={b"user.k": b"v\n\0w"}, mtime=6),
        member("d/été".encode(), b"", uid=2**15, mtime=7),
        symlink("d/" + "l" * 120, "t" * 200),
        hardlink("d/z", "d/" + "n" * 150),
        member("d/pipe", kind=tarwriter.FIFO),
        member("d/null", kind=tarwriter.CHARACTER, device=(1, 3), mode=0o666),
        member("d/.wh.gone"),
        folder("e"),
        member("e/.wh..wh..opq"),
    )
    first = b"".join(pack(arena.target))
    again = tmp_path / "again"
    again.mkdir()
    unpack(iter([first]), again)
    assert b"".join(pack(again)) == first


def test_old_archives_tell_a_directory_by_its_slash(arena: Arena) -> None:
    arena.unpack(number(member("d/"), 156, 157, b"\0"))
    assert (arena.target / "d").is_dir()


def test_a_layer_of_many_files_needs_little_memory(arena: Arena) -> None:
    def pieces() -> Iterator[bytes]:
        yield folder("d")
        for n in range(20_000):
            yield tarwriter.header(Member(name=b"d/%d" % n))
        yield tarwriter.END

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert unpack(pieces(), arena.target).entries == 20_001
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
