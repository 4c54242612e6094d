"""A disk that is full, read-only or without inodes: what the user reads, and that it works again.

The disk is an ext4 in a file, with the blocks that mkfs reserves for root; they are not free space.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.settings import process_environ
from tests.conftest import SOURCE, CommandLine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.privileged

MEGABYTES = 400
NO_SPACE = 7
FULL = re.compile(
    r"no space left on device \S+ \(\d+(\.\d)? k?B free(, (more than )?[\d.]+ [kMG]?B needed)?\): "
    r"'layerline store prune --keep-storage 0' would free [\d.]+ MB"
)
BASE = ("core", "container", "from", "--address=debian:bookworm-slim")


class Disk:
    """A small disk, in the file `image` and mounted at `root`, with the store of a command line."""

    def __init__(self, image: Path, root: Path, command_line: CommandLine) -> None:
        self.root = root
        self.store = self.root / "store"
        command.run(["mount", "-o", "loop", image, self.root])
        environ = {**command_line.environ, "LAYERLINE_STORE": str(self.store)}
        self.command_line = replace(command_line, environ=environ)
        self.workdir = command_line.workdir

    def run(self, *words: str) -> command.Finished:
        """Run a command, whatever its status."""
        done = self.command_line.run(*words, expect=None)
        assert b"Traceback" not in done.stderr
        assert b"defect" not in done.stderr
        assert b"unexpected" not in done.stderr
        return done

    def build(self, *words: str) -> command.Finished:
        """Run a call on the base image."""
        return self.run("--progress=report", *BASE, *words)

    def fill(self, *, leave: int = 0) -> None:
        """Use up the space that is left, root's reserve too, but for some bytes."""
        with (self.root / "filler").open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    continue
        if leave:
            os.truncate(self.root / "filler", (self.root / "filler").stat().st_size - leave)

    def empty(self) -> None:
        """Give the space back."""
        (self.root / "filler").unlink(missing_ok=True)

    def remount(self, how: str) -> None:
        """Mount it read-only or writable."""
        command.run(["mount", "-o", f"remount,{how}", self.root])


@pytest.fixture(scope="module")
def prepared(bases: str, loop_mounts: None, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001
    """A file `image` of a disk whose store has the base image, and the directory for its mount."""
    place = tmp_path_factory.mktemp("disk")
    for name in ("root", "work"):
        (place / name).mkdir()
    with (place / "image").open("wb") as file:
        file.truncate(MEGABYTES << 20)
    command.run(["mkfs.ext4", "-q", "-F", "-N", "20000", place / "image"])
    own = {
        "HOME": str(place),
        "LAYERLINE_REGISTRY_MIRRORS": f"docker.io=http://{bases}",
        "PYTHONPATH": str(SOURCE),
    }
    line = CommandLine(environ={**process_environ(), **own}, workdir=place / "work")
    disk = Disk(place / "image", place / "root", line)
    try:
        assert disk.build("sync").status == 0
    finally:
        command.run(["umount", disk.root])
    return place


@pytest.fixture
def disk(tmp_path: Path, prepared: Path, command_line: CommandLine) -> Iterator[Disk]:
    """A small disk whose store has the base image."""
    image = tmp_path / "image"
    command.run(["cp", "--sparse=always", prepared / "image", image])
    disk = Disk(image, prepared / "root", command_line)
    try:
        yield disk
    finally:
        command.run(["umount", disk.root])


def is_no_space(done: command.Finished) -> bool:
    """Whether the call failed as it should on a full disk."""
    text = done.stderr.decode()
    assert FULL.search(text), text
    return done.status == NO_SPACE


FILL = "head -c 1G /dev/zero > /big"


@pytest.mark.parametrize(
    "arguments",
    [
        (f"--args=sh,-c,{FILL}", "sync"),
        (f"--args=sh,-c,{FILL} || true", "sync"),
        ("--args=sh,-c,yes | head -c 20M", "stdout"),
        ("--args=sh,-c,yes | head -c 20M", "--redirect-stdout=/out", "stdout"),
    ],
    ids=["fails", "ignores", "stdout", "redirect"],
)
def test_an_exec_that_fills_the_disk(disk: Disk, arguments: tuple[str, ...]) -> None:
    disk.fill(leave=12 << 20)
    assert is_no_space(disk.build("with-exec", *arguments))
    disk.empty()
    # Nothing half-made stays, and the disk has its space again.
    assert list((disk.store / "scratch").iterdir()) == []
    done = disk.build("with-exec", "--args=sh,-c,head -c 20M /dev/zero > /small", "sync")
    assert done.status == 0, done.stderr


def test_a_full_disk_is_freed_by_the_tool(disk: Disk) -> None:
    assert disk.build("with-exec", "--args=sh,-c,head -c 20M /dev/urandom > /x", "sync").status == 0
    disk.fill()
    for words in (("df",), ("volumes",), ("prune", "--keep-storage=0", "--dry-run")):
        done = disk.run("store", *words)
        assert (done.status, done.stderr) == (0, b"")
    assert is_no_space(disk.build("sync"))
    assert is_no_space(disk.run("store", "check"))
    done = disk.run("store", "prune", "--keep-storage=0")
    assert (done.status, done.stderr) == (0, b"")
    done = disk.build("sync")
    assert done.status == 0, done.stderr
    assert disk.run("store", "check", "--deep").status == 0


def test_an_import_from_the_host(disk: Disk) -> None:
    source = disk.workdir / "source"
    source.mkdir()
    (source / "big").write_bytes(os.urandom(8 << 20))
    disk.fill(leave=4 << 20)
    words = ("with-directory", "--path=/in", f"--source={source}", "sync")
    done = disk.build(*words)
    assert is_no_space(done)
    assert b"8.4 MB needed" in done.stderr
    disk.empty()
    assert disk.build(*words).status == 0


def test_a_cache_volume(disk: Disk) -> None:
    words = ("with-mounted-cache", "--path=/c", "--cache=v", "with-exec")
    done = disk.build(*words, "--args=sh,-c,head -c 1G /dev/zero > /c/big", "sync")
    assert is_no_space(done)
    assert disk.build(*words, "--args=sh,-c,rm /c/big", "sync").status == 0


def test_an_export_with_a_full_store_and_to_a_full_disk(disk: Disk) -> None:
    made = ("with-exec", "--args=sh,-c,head -c 30M /dev/urandom > /x")
    assert disk.build(*made, "sync").status == 0
    disk.fill(leave=10 << 20)
    assert is_no_space(disk.build(*made, "export", f"--path={disk.workdir}/image.tar"))
    assert not (disk.workdir / "image.tar").exists()
    assert is_no_space(disk.build(*made, "file", "--path=/x", "export", f"--path={disk.root}/x"))
    assert not (disk.root / "x").exists()
    disk.empty()
    assert disk.build(*made, "export", f"--path={disk.workdir}/image.tar").status == 0


def test_a_disk_without_inodes(disk: Disk) -> None:
    done = disk.build(
        "with-exec", "--args=sh,-c,mkdir /m; i=0; while : > /m/$i; do i=$((i+1)); done", "sync"
    )
    assert done.status == NO_SPACE
    assert b"no inodes left on device" in done.stderr
    assert disk.build("with-exec", "--args=true", "sync").status == 0


def test_a_read_only_disk(disk: Disk) -> None:
    disk.remount("ro")
    try:
        done = disk.build("sync")
        assert done.status == 1
        assert b"the file system is read-only: mount it writable, or set LAYERLINE" in done.stderr
        for words in (("df",), ("volumes",), ("prune", "--keep-storage=0", "--dry-run")):
            assert disk.run("store", *words).status == 0
        done = disk.run("store", "prune", "--keep-storage=0")
        assert (done.status, b"read-only" in done.stderr) == (1, True)
        assert b"read-only" in disk.run("store", "check").stderr
    finally:
        disk.remount("rw")
    assert disk.build("sync").status == 0


def test_an_output_that_cannot_be_written(disk: Disk) -> None:
    words = ["sh", "-c", 'exec "$@" > /dev/full', "sh", *disk.command_line.words, "store", "df"]
    done = command.run(words, env=disk.command_line.environ, expect=None)
    assert done.status == NO_SPACE
    assert done.stderr == b"Error: failed to write the result to stdout: no space left on device\n"


def test_a_call_that_cannot_fit_is_refused_before_it_starts(disk: Disk) -> None:
    made = ("with-exec", "--args=sh,-c,head -c 60M /dev/urandom > /x", "sync")
    assert disk.build(*made).status == 0
    assert disk.run("store", "prune", "--keep-storage=0").status == 0
    assert disk.build("sync").status == 0
    disk.fill(leave=20 << 20)
    done = disk.build(*made)
    assert done.status == NO_SPACE
    assert b"Error: this call is likely to need 6" in done.stderr
    assert b"withExec" not in done.stderr
    config = disk.workdir.parent / ".config/layerline/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("[storage]\nforecast = false\n")
    assert is_no_space(disk.build(*made))
    config.unlink()
    disk.empty()
    assert disk.build(*made).status == 0


def test_the_store_is_pruned_by_itself_and_says_so_once(disk: Disk) -> None:
    config = disk.workdir.parent / ".config/layerline/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("[storage]\nkeep_storage = '1MB'\nreserved = '1MB'\n")
    word = b"prune the store: removed"
    made = "--args=sh,-c,head -c 20M /dev/urandom > /x; : "
    said = [disk.build("with-exec", f"{made}{number}", "sync").stderr for number in range(3)]
    assert [word in text for text in said] == [True, True, True]
    assert [b"keep_storage in [storage] of" in text for text in said] == [True, False, False]
    done = disk.build("with-exec", f"{made}2", "sync")  # what was used last stays
    assert b"CACHED" in done.stderr
