"""Pack snapshots as layers: deterministic tar bytes, their digest, and the compressed blob.

The tar depends on the snapshot only: members in byte order, numeric owners, times in seconds,
whiteouts as `.wh.` names. An imported layer keeps its original blob, byte for byte.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from layerline.compression import ZSTD_LEVEL
from layerline.engine.image import stream, tarwriter
from layerline.engine.image.manifests import Compression
from layerline.engine.image.tarwriter import Member
from layerline.engine.image.whiteouts import OPAQUE, WHITEOUT
from layerline.engine.store import overlay
from layerline.engine.store.devices import device_status
from layerline.engine.store.digest import Digest, parse_digest
from layerline.errors import StoreDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from layerline.engine.store.store import Store

Inode = tuple[int, int]
"""The device and the number of a file."""
_TABLE = "layer"
_KEPT_XATTRS = ("security.capability", "user.")
_WHITEOUT_MTIME = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerBlob:
    """A packed layer: the digest of its content (`diff_id`) and the compressed blob.

    `annotations` are those of its descriptor in a manifest; `level` is zstd's.
    """

    diff_id: Digest
    digest: Digest
    size: int
    compression: Compression
    annotations: tuple[tuple[str, str], ...] = ()
    level: int = ZSTD_LEVEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What another machine has packed: the snapshot is the directory `within` the layer of `blob`.

    With `contents` its files are in that layer (`sparse_layer.py`). Unlike the original of an
    imported layer it says nothing about the form of images.
    """

    blob: LayerBlob
    within: str = ""
    contents: LayerBlob | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the blob is the snapshot's layer, and nothing else."""
        return not self.within and self.contents is None


def pack(
    snapshot: Path, *, epoch: int | None = None, names: Mapping[Inode, bytes] | None = None
) -> Iterator[bytes]:
    """The tar of a snapshot in chunks; times later than `epoch` (seconds) are set to it.

    Files that have one of the `names` become hard links to it.
    """
    buffer = bytearray()
    for piece in _Packer(os.fsencode(snapshot), epoch, names or {}).stream():
        buffer += piece
        if len(buffer) >= stream.CHUNK:
            yield bytes(buffer)
            buffer.clear()
    buffer += tarwriter.END
    yield bytes(buffer)


def tar_digest(snapshot: Path) -> Digest:
    """The diff id that a directory would have as a layer."""
    hasher = stream.Hasher()
    with stream.ahead(lambda: pack(snapshot)) as chunks:
        for _ in hasher.over(chunks):
            pass
    return hasher.digest


def layer_blob(
    store: Store,
    snapshot: str,
    compression: Compression | None = None,
    *,
    epoch: int | None = None,
    zstd_level: int = ZSTD_LEVEL,
) -> LayerBlob:
    """The blob of a snapshot, packed on first use.

    Without a compression it is the blob that the layer was imported from, otherwise gzip. What
    another machine has packed is compressed again without unpacking its files.
    """
    original = _lookup(store, _key(snapshot))
    if original is not None and compression in (None, original.compression):
        return original
    wanted = compression or Compression.GZIP
    level = zstd_level if wanted.stream is Compression.ZSTD else ZSTD_LEVEL
    key = _key(snapshot, wanted, epoch if original is None else None, level)
    if (found := _lookup(store, key)) is not None:
        return found
    with store.locks.exclusive(f"layer {key}"):
        if (found := _lookup(store, key)) is not None:
            return found
        source = original or _source(store, snapshot)
        made = _make(store, snapshot, source, stream.LayerCompressor(wanted, level), epoch)
        store.index.put(_TABLE, key, _document(made), snapshots=(snapshot,))
        if original is None and epoch is None:
            known = {**_document(made), "snapshot": snapshot}
            store.index.put(_TABLE, _packed_key(made.digest), known, snapshots=(snapshot,))
    return made


def find_layer(
    store: Store,
    snapshot: str,
    compression: Compression = Compression.GZIP,
    *,
    epoch: int | None = None,
    zstd_level: int = ZSTD_LEVEL,
) -> LayerBlob | None:
    """The blob of a snapshot in a compression, if it has been packed."""
    level = zstd_level if compression.stream is Compression.ZSTD else ZSTD_LEVEL
    return _lookup(store, _key(snapshot, compression, epoch, level))


def find_packed(store: Store, digest: Digest) -> tuple[str, LayerBlob] | None:
    """The snapshot that a blob was packed from without changes, so it need not be unpacked."""
    document = store.index.get(_TABLE, _packed_key(digest))
    layer = _lookup(store, _packed_key(digest))
    if document is None or layer is None:
        return None
    snapshot = str(document["snapshot"])
    is_usable = store.snapshots.is_here(snapshot) and store.snapshots.has(snapshot)
    return (snapshot, layer) if is_usable else None


def keep_original(store: Store, snapshot: str, layer: LayerBlob) -> None:
    """Remember the blob that a snapshot was unpacked from."""
    store.index.put(_TABLE, _key(snapshot), _document(layer), snapshots=(snapshot,))


def original_of(store: Store, snapshot: str) -> LayerBlob | None:
    """The blob that a snapshot was unpacked from, if it still is in the store."""
    return _lookup(store, _key(snapshot))


def keep_received(
    store: Store, snapshot: str, received: Received, *, epoch: int | None = None
) -> None:
    """Remember what another machine has packed a snapshot as."""
    blob = received.blob
    row = {**_document(blob), "within": received.within}
    store.index.put(_TABLE, _received_key(snapshot), row, snapshots=(snapshot,))
    if received.contents is not None:
        contents = _document(received.contents)
        store.index.put(_TABLE, _contents_key(snapshot), contents, snapshots=(snapshot,))
    if received.is_complete:
        key = _key(snapshot, blob.compression, epoch, blob.level)
        store.index.put(_TABLE, key, _document(blob), snapshots=(snapshot,))


def keep_form(store: Store, snapshot: str, blob: LayerBlob) -> None:
    """Remember what an imported layer is in images of another compression."""
    key = _key(snapshot, blob.compression, None, blob.level)
    store.index.put(_TABLE, key, _document(blob), snapshots=(snapshot,))


def received_of(store: Store, snapshot: str) -> Received | None:
    """What another machine has packed a snapshot as, if it still can be had."""
    row = store.index.get(_TABLE, _received_key(snapshot))
    blob = _lookup(store, _received_key(snapshot))
    if row is None or blob is None:
        return None
    contents = _lookup(store, _contents_key(snapshot))
    return Received(blob=blob, within=str(row["within"]), contents=contents)


def _source(store: Store, snapshot: str) -> LayerBlob | None:
    """A blob to compress again: where files are not in the store, a blob needs no unpacking."""
    received = received_of(store, snapshot)
    if received is None or not received.is_complete:
        return None
    is_nearer = store.blobs.has(received.blob.digest) or not store.snapshots.is_here(snapshot)
    return received.blob if is_nearer else None


def _make(
    store: Store,
    snapshot: str,
    source: LayerBlob | None,
    compressor: stream.LayerCompressor,
    epoch: int | None,
) -> LayerBlob:
    hasher = stream.Hasher()

    def tar() -> Iterator[bytes]:
        if source is None:
            yield from hasher.over(pack(store.snapshots.path(snapshot), epoch=epoch))
            return
        with store.blobs.open(source.digest) as packed:
            yield from hasher.over(stream.decompress(packed, source.compression.stream))

    with store.blobs.writer() as writer, stream.ahead(tar) as chunks:
        for data in compressor.compress(chunks):
            writer.write(data)
        blob = writer.commit()
    hasher.update(compressor.content_after)
    return LayerBlob(
        diff_id=hasher.digest,
        digest=blob.digest,
        size=blob.size,
        compression=compressor.compression,
        annotations=compressor.annotations,
        level=compressor.zstd_level,
    )


def _key(
    snapshot: str,
    compression: Compression | None = None,
    epoch: int | None = None,
    level: int = ZSTD_LEVEL,
) -> str:
    how = "original" if compression is None else compression.value
    how += "" if level == ZSTD_LEVEL else f"@{level}"
    return f"{snapshot}:{how}" + (f":{epoch}" if epoch is not None else "")


def _received_key(snapshot: str) -> str:
    return f"{snapshot}:received"


def _contents_key(snapshot: str) -> str:
    return f"{snapshot}:contents"


def _packed_key(digest: Digest) -> str:
    return f"{digest}:snapshot"


def _lookup(store: Store, key: str) -> LayerBlob | None:
    document = store.index.get(_TABLE, key)
    if document is None:
        return None
    size, level = document["size"], document.get("level", ZSTD_LEVEL)
    layer = LayerBlob(
        diff_id=parse_digest(str(document["diff_id"])),
        digest=parse_digest(str(document["digest"])),
        size=size if isinstance(size, int) else 0,
        compression=Compression(document["compression"]),
        annotations=_annotations(document),
        level=level if isinstance(level, int) else ZSTD_LEVEL,
    )
    return layer if store.blobs.is_available(layer.digest) else None


def _document(layer: LayerBlob) -> dict[str, Any]:
    return {
        "diff_id": layer.diff_id,
        "digest": layer.digest,
        "size": layer.size,
        "compression": layer.compression.value,
        **({"annotations": dict(layer.annotations)} if layer.annotations else {}),
        **({"level": layer.level} if layer.level != ZSTD_LEVEL else {}),
    }


def _annotations(document: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    found = document.get("annotations")
    return tuple(sorted(found.items())) if isinstance(found, dict) else ()


class _Packer:
    """Walks one snapshot; `names` has the first name of each file with several links, by inode."""

    def __init__(self, root: bytes, epoch: int | None, names: Mapping[Inode, bytes]) -> None:
        self.root = root
        self.epoch = epoch
        self.names = dict(names)

    def stream(self) -> Iterator[bytes]:
        status = os.lstat(self.root)
        if (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) != (0o755, 0, 0):
            yield tarwriter.header(self._member(b"./", status, tarwriter.DIRECTORY))
        # Generators that call each other would hand on each piece at every depth.
        pending = self._children(b"")
        while pending:
            name = pending.pop()
            path = self.root + b"/" + name
            status = device_status(path, os.lstat(path))
            if stat.S_ISDIR(status.st_mode):
                yield tarwriter.header(self._member(name + b"/", status, tarwriter.DIRECTORY, path))
                if overlay.is_opaque(path):
                    opaque = Member(name=name + b"/" + OPAQUE, mode=0, mtime=_WHITEOUT_MTIME)
                    yield tarwriter.header(opaque)
                pending += self._children(name + b"/")
            elif overlay.is_whiteout(status):
                above, slash, base = name.rpartition(b"/")
                hidden = above + slash + WHITEOUT + base
                yield tarwriter.header(Member(name=hidden, mode=0, mtime=_WHITEOUT_MTIME))
            elif not stat.S_ISSOCK(status.st_mode):
                yield from self._file(name, path, status)

    def _children(self, prefix: bytes) -> list[bytes]:
        """The names in a directory, the last one first."""
        with os.scandir(self.root + b"/" + prefix) as entries:
            names = [entry.name for entry in entries]
        return [prefix + name for name in sorted(names, reverse=True)]

    def _file(self, name: bytes, path: bytes, status: os.stat_result) -> Iterator[bytes]:
        if status.st_nlink > 1:
            # The store links files between snapshots; only names within this layer count.
            first = self.names.setdefault((status.st_dev, status.st_ino), name)
            if first != name:
                link = self._member(name, status, tarwriter.HARDLINK)
                yield tarwriter.header(replace(link, target=first))
                return
        match stat.S_IFMT(status.st_mode):
            case stat.S_IFREG:
                yield from self._regular(name, path, status)
            case stat.S_IFLNK:
                link = self._member(name, status, tarwriter.SYMLINK, path)
                yield tarwriter.header(replace(link, target=_target(path), mode=0o777))
            case stat.S_IFIFO:
                yield tarwriter.header(self._member(name, status, tarwriter.FIFO, path))
            case other:
                kind = tarwriter.CHARACTER if other == stat.S_IFCHR else tarwriter.BLOCK_DEVICE
                device = (os.major(status.st_rdev), os.minor(status.st_rdev))
                yield tarwriter.header(replace(self._member(name, status, kind), device=device))

    def _regular(self, name: bytes, path: bytes, status: os.stat_result) -> Iterator[bytes]:
        left = status.st_size
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            yield tarwriter.header(self._member(name, status, tarwriter.REGULAR, handle, left))
            while left:
                data = os.read(handle, min(left, stream.CHUNK))
                if not data:
                    message = f"{os.fsdecode(name)} became shorter while its layer was packed"
                    raise StoreDamaged(message)
                left -= len(data)
                yield data
        finally:
            os.close(handle)
        yield tarwriter.padding(status.st_size)

    def _member(
        self,
        name: bytes,
        status: os.stat_result,
        kind: str,
        place: bytes | int | None = None,
        size: int = 0,
    ) -> Member:
        """A member; its attributes are those at `place`, a path or a descriptor."""
        mtime = max(0, int(status.st_mtime))
        return Member(
            name=name,
            kind=kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            size=size,
            mtime=mtime if self.epoch is None else min(mtime, self.epoch),
            xattrs=_xattrs(place) if place is not None else {},
        )


def _target(path: bytes) -> bytes:
    return os.readlink(path)  # noqa: PTH115 - Path would normalise what the link says


def _xattrs(place: bytes | int) -> dict[bytes, bytes]:
    return {
        os.fsencode(overlay.content_name(name)): value
        for name, value in overlay.attributes(place).items()
        if name.startswith(_KEPT_XATTRS)
    }
