"""Archives that ADD unpacks: tar, plain or compressed by gzip, bzip2, xz or zstd."""

from __future__ import annotations

import bz2
import lzma
import os
from typing import TYPE_CHECKING, BinaryIO

from layerline.engine.image.stream import CHUNK, decompress, sniff
from layerline.engine.image.tarreader import Reader
from layerline.engine.image.unpack import inherit, limit_expansion, unpack
from layerline.engine.store.rmtree import remove_tree
from layerline.engine.store.tree import Tree
from layerline.errors import ArchiveInvalid

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from layerline.engine.store.store import Store
    from layerline.engine.store.tree import Entry
    from layerline.engine.store.writer import Writer

_BZIP2 = b"BZh"
_XZ = b"\xfd7zXZ\x00"


def is_archive(entry: Entry) -> bool:
    """Whether a file is a tar with something in it, whatever its name says."""
    if not entry.is_file or entry.stat.st_size == 0:
        return False
    with entry.open() as file:
        try:
            return next(Reader(_plain(file)).entries(), None) is not None
        except (ArchiveInvalid, OSError, EOFError, lzma.LZMAError):
            return False


def unpack_into(entry: Entry, destination: str, writer: Writer, store: Store) -> None:
    """Merge what an archive holds into a directory, with the owners and modes that it says."""
    resolved = writer.view.resolve(destination)[0]

    def below(path: str) -> Entry | None:
        return writer.view.find(f"{resolved.rstrip('/')}/{path}", follow=False)

    with store.snapshots.draft() as draft, entry.open() as file:
        chunks = limit_expansion(_plain(file), entry.stat.st_size)
        done = unpack(chunks, draft.fs, below=below)
        implied = [os.fsdecode(path) for path in done.implied]
        _merge(draft.fs, implied, resolved, writer)


def _merge(fs: Path, implied: Sequence[str], destination: str, writer: Writer) -> None:
    """Merge a tree; its `implied` directories, which the archive does not name, stay as they are.

    So does a link to a directory in their place: what is below goes to where it leads, as `/lib`
    does in a Debian.
    """
    for path in implied:
        place = f"{destination.rstrip('/')}/{path}"
        link = writer.view.find(place, follow=False)
        resolved, found = writer.view.resolve(place)
        if link is None or not link.is_symlink or found is None or not found.is_dir:
            continue
        if (fs / path).exists():  # it did not go with its parent
            below = [
                each.removeprefix(f"{path}/") for each in implied if each.startswith(f"{path}/")
            ]
            _merge(fs / path, below, resolved, writer)
            remove_tree(fs / path)
    left = tuple(os.fsencode(path) for path in implied if (fs / path).exists())
    inherit(fs, left, writer.view, destination)
    writer.copy(Tree((fs,)), "/", destination)


def _plain(file: BinaryIO) -> Iterator[bytes]:
    head = file.read(8)
    file.seek(0)
    if head.startswith(_BZIP2):
        return _chunks(bz2.open(file))
    if head.startswith(_XZ):
        return _chunks(lzma.open(file))
    return decompress(file, sniff(head))


def _chunks(stream: io.BufferedIOBase) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk
