"""Whether a file or a directory already is the image that would be written there.

Blobs are not read: their digests are in the index, and a file's size is that of its members.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from layerline.engine.image import tarwriter
from layerline.engine.image.tarwriter import Member

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from layerline.engine.image.archive_files import ArchiveFile

MODE = 0o600


def is_same_archive(target: Path, files: Sequence[ArchiveFile]) -> bool:
    """Whether a file has the expected size and index; the index names the rest by digest."""
    head = b"".join(
        tarwriter.header(Member(name=file.name.encode(), size=file.size))
        + file.data
        + tarwriter.padding(file.size)
        for file in files
        if file.blob is None and not file.name.startswith("blobs/")
    )
    size = sum(tarwriter.member_size(file.size) for file in files) + len(tarwriter.END)
    try:
        handle = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        status = os.fstat(handle)
        return (
            stat.S_ISREG(status.st_mode)
            and stat.S_IMODE(status.st_mode) == MODE
            and status.st_size == size
            and os.read(handle, len(head)) == head
        )
    finally:
        os.close(handle)


def is_same_file(place: Path, file: ArchiveFile) -> bool:
    """Whether a file already has this content; a blob is named by its digest, so size decides."""
    if not place.is_file() or place.stat().st_size != file.size:
        return False
    return file.blob is not None or place.read_bytes() == file.data
