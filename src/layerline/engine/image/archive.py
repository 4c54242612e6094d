"""Images as files: an OCI archive that docker reads too, and an OCI layout directory.

Files are replaced atomically. A symbolic link at the target is replaced, not followed, and a file
that already holds the image is not written again.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from layerline.engine.image import manifests, stream, tarwriter
from layerline.engine.image.archive_source import blob_name
from layerline.engine.image.platform import Platform
from layerline.engine.image.reference import DEFAULT_TAG, Reference
from layerline.engine.image.tarwriter import Member
from layerline.errors import IsADirectory, PathNotFound
from layerline.kernel import sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from layerline.engine.image.assemble import AssembledImage
    from layerline.engine.image.manifests import Descriptor
    from layerline.engine.store.store import Store

OCI_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_CONTAINERD_NAME = "io.containerd.image.name"


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A member of the archive: its bytes, or the blob in the store that holds them."""

    name: str
    size: int
    data: bytes = b""
    blob: Descriptor | None = None


def write_archive(
    store: Store, image: AssembledImage, target: Path, *, reference: Reference | None = None
) -> bool:
    """Write the archive with mode 0600; False if the file at the target is this image already."""
    files = _files(image, reference)
    if _is_same(target, files):
        return False
    with _replacing(target) as out:
        for file in files:
            out.write(tarwriter.header(Member(name=file.name.encode(), size=file.size)))
            for chunk in _content(store, file):
                out.write(chunk)
            out.write(tarwriter.padding(file.size))
        out.write(tarwriter.END)
    return True


def write_layout(
    store: Store, image: AssembledImage, target: Path, *, reference: Reference | None = None
) -> bool:
    """Write an OCI layout directory: blobs that are missing first, the index last.

    False if the directory holds this image already.
    """
    blobs = target / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    files = {file.name: file for file in _files(image, reference)}
    index = files.pop("index.json")
    del files["manifest.json"]
    written = False
    for file in (*files.values(), index):
        place = target / file.name
        if _holds(place, file):
            continue
        written = True
        with _replacing(place, mode=0o644) as out:
            for chunk in _content(store, file):
                out.write(chunk)
    return written


def _holds(place: Path, file: _File) -> bool:
    """Whether a file already has this content; a blob is named by its digest, so size decides."""
    if not place.is_file() or place.stat().st_size != file.size:
        return False
    return file.blob is not None or place.read_bytes() == file.data


def _files(image: AssembledImage, reference: Reference | None) -> list[_File]:
    top = {
        "oci-layout": OCI_LAYOUT,
        "index.json": manifests.index_bytes(
            [_index_entry(image.root, reference)],
            manifests.FAMILIES[manifests.MediaTypes.OCI].index,
        ),
        "manifest.json": _docker_manifest(image, reference),
    }
    found = [_File(name=name, size=len(data), data=data) for name, data in top.items()]
    small = [
        _File(name=blob_name(descriptor), size=len(data), data=data)
        for descriptor, data in image.documents
    ]
    large = [_File(name=blob_name(layer), size=layer.size, blob=layer) for layer in image.layers]
    return [*found, *sorted((*small, *large), key=lambda file: file.name)]


def _index_entry(root: Descriptor, reference: Reference | None) -> Descriptor:
    annotations = {manifests.REF_NAME: DEFAULT_TAG}
    if reference is not None:
        tagged = replace(reference.with_default_tag(), digest=None)
        annotations = {
            _CONTAINERD_NAME: str(tagged),
            manifests.REF_NAME: tagged.tag or DEFAULT_TAG,
        }
    return replace(root, annotations=tuple(sorted(annotations.items())))


def _docker_manifest(image: AssembledImage, reference: Reference | None) -> bytes:
    """The `manifest.json` of `docker load`, for one platform only: this machine's, if present."""
    mine = next(
        (found for found in image.manifests if _platform_of(image, found) == Platform.of_host()),
        image.manifests[0],
    )
    tags = None
    if reference is not None and reference.with_default_tag().tag is not None:
        tags = [str(replace(reference.with_default_tag(), digest=None))]
    document = {
        "Config": blob_name(mine.config),
        "RepoTags": tags,
        "Layers": [blob_name(layer) for layer in mine.layers],
    }
    return json.dumps([document], separators=(",", ":")).encode()


def _platform_of(image: AssembledImage, manifest: manifests.Manifest) -> Platform:
    document = manifests.parse_json(image.document(manifest.config.digest), "image configuration")
    return Platform.of(document["os"], document["architecture"], document.get("variant", ""))


def _content(store: Store, file: _File) -> Iterator[bytes]:
    if file.blob is None:
        yield file.data
        return
    with store.blobs.open(file.blob.digest) as source:
        yield from iter(lambda: source.read(stream.CHUNK), b"")


def _is_same(target: Path, files: Sequence[_File]) -> bool:
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
            and stat.S_IMODE(status.st_mode) == 0o600
            and status.st_size == size
            and os.read(handle, len(head)) == head
        )
    finally:
        os.close(handle)


@contextlib.contextmanager
def _replacing(target: Path, *, mode: int = 0o600) -> Iterator[BinaryIO]:
    """Yield a file that replaces the target if the block succeeds and is removed otherwise."""
    if target.is_dir() and not target.is_symlink():
        message = f"{target} is a directory: name a file to export to"
        raise IsADirectory(message)
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:200]}.")
    except FileNotFoundError as exc:
        raise PathNotFound(str(target.parent)) from exc
    part = Path(name)
    try:
        with os.fdopen(handle, "wb", buffering=stream.CHUNK) as out:
            yield out
            out.flush()
            os.fchmod(handle, mode)
            os.fsync(handle)
        part.replace(target)
        sync_directory(target.parent)
    finally:
        part.unlink(missing_ok=True)
