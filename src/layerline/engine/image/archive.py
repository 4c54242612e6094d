"""Images as files: an OCI archive that docker reads too, and an OCI layout directory.

Files are replaced atomically. A symbolic link at the target is replaced, not followed, and a file
that already holds the image is not written again.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING, BinaryIO

from layerline.engine.image import tarwriter
from layerline.engine.image.archive_files import content_of, files_of
from layerline.engine.image.read_ahead import read_ahead
from layerline.engine.image.same_image import MODE, is_same_archive, is_same_file
from layerline.engine.image.tarwriter import Member
from layerline.engine.store.disk_errors import write_errors
from layerline.errors import IsADirectory, PathNotFound
from layerline.kernel import sync_directory
from layerline.replacement import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layerline.engine.image.assemble import AssembledImage
    from layerline.engine.image.manifests import Descriptor
    from layerline.engine.image.reference import Reference
    from layerline.engine.store.store import Store


def write_archive(
    store: Store, image: AssembledImage, target: Path, *, reference: Reference | None = None
) -> bool:
    """Write the archive with mode 0600; False if the file at the target is this image already."""
    files = files_of(image, reference)
    if is_same_archive(target, files):
        return False
    needed = sum(file.size for file in files)
    failed = write_errors(f"failed to write {target}", target, needed=needed, store=store.root)
    with failed, _replacing(target) as out:
        for file in files:
            out.write(tarwriter.header(Member(name=file.name.encode(), size=file.size)))
            with read_ahead(content_of(store, file)) as chunks:
                for chunk in chunks:
                    out.write(chunk)
            out.write(tarwriter.padding(file.size))
        out.write(tarwriter.END)
    return True


def write_layout(
    store: Store, image: AssembledImage, target: Path, *, reference: Reference | None = None
) -> bool:
    """Write an OCI layout directory: blobs that are missing first, the index last.

    The blobs are files of the store where that is on the same file system, and copies elsewhere.
    False if the directory holds this image already.
    """
    blobs = target / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    files = {file.name: file for file in files_of(image, reference)}
    index = files.pop("index.json")
    del files["manifest.json"]
    written = False
    for file in (*files.values(), index):
        place = target / file.name
        if is_same_file(place, file):
            continue
        written = True
        failed = write_errors(
            f"failed to write {target}", place, needed=file.size, store=store.root
        )
        with failed:
            if file.blob is not None and _link(store, file.blob, place):
                continue
            with _replacing(place, mode=0o644) as out:
                for chunk in content_of(store, file):
                    out.write(chunk)
    return written


def _link(store: Store, blob: Descriptor, place: Path) -> bool:
    """Put the store's file of a blob at a place; False where that has to be a copy."""
    part = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
    try:
        if not store.blobs.link(blob.digest, part):
            return False
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)
    sync_directory(place.parent)
    return True


@contextlib.contextmanager
def _replacing(target: Path, *, mode: int = MODE) -> Iterator[BinaryIO]:
    """Yield a file that replaces the target if the block succeeds and is removed otherwise."""
    if target.is_dir() and not target.is_symlink():
        message = f"{target} is a directory: name a file to export to"
        raise IsADirectory(message)
    if not target.parent.is_dir():
        raise PathNotFound(str(target.parent))
    with replacing(target) as out:
        yield out
        out.flush()
        os.fchmod(out.fileno(), mode)
        os.fsync(out.fileno())
    sync_directory(target.parent)
