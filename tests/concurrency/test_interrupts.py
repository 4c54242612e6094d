"""Ctrl-C ends an import within two seconds of work, whatever it reads, and leaves nothing."""

from __future__ import annotations

import gzip
import resource
import signal
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.concurrency.test_endings import end, until

if TYPE_CHECKING:
    from tests.conftest import CommandLine

pytestmark = pytest.mark.privileged

# Of the processor, from the start: a second until the interrupt, and two after it. The clock's time
# is that of other processes, too.
AT_MOST = 5.0
SIZE = 24 << 30


def sparse(path: Path) -> None:
    """A file of zeros that takes no space: reading all of it takes ten seconds and more."""
    with path.open("wb") as file:
        file.truncate(SIZE)


def bomb(path: Path) -> None:
    """A layer with a file of zeros, as an image's archive that is compressed as a whole."""
    head = tarfile.TarInfo("layer.tar")
    head.size = SIZE
    block = gzip.compress(bytes(64 << 20), 1, mtime=0)
    with path.open("wb") as file:
        file.write(gzip.compress(head.tobuf(), 1, mtime=0))
        for _ in range(SIZE // (64 << 20)):
            file.write(block)


@pytest.mark.parametrize("kind", ["directory", "archive"])
def test_an_import_ends_soon_after_an_interrupt(command_line: CommandLine, kind: str) -> None:
    source = command_line.workdir / "source"
    source.mkdir()
    words: tuple[str, ...]
    words = ("core", "container", "with-directory", "--path=/x", f"--source={source}", "sync")
    if kind == "directory":
        sparse(source / "file")
    else:
        bomb(source / "image.tar.gz")
        words = ("core", "container", "import", f"--source={source}/image.tar.gz", "sync")
    scratch = Path(command_line.environ["LAYERLINE_STORE"]) / "scratch"
    before = processor_time()
    process = command_line.start(*words)
    assert process.stderr is not None
    try:
        until(lambda: any(each.stat().st_size > 64 << 20 for each in files(scratch)), 60)
        process.send_signal(signal.SIGINT)
        status = process.wait(timeout=60)
        text = process.stderr.read()
        assert (status, b"Canceled.\n" in text, b"defect" in text) == (2, True, False), text
        used = processor_time() - before
        assert used < AT_MOST
    finally:
        end(process)
    assert files(scratch) == []


def processor_time() -> float:
    """The seconds of the processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def files(root: Path) -> list[Path]:
    """The files below a directory that others may be changing."""
    try:
        return [path for path in root.rglob("*") if path.is_file()]
    except OSError:
        return []
