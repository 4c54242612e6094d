"""Manifests of snapshots: what each entry was when its layer was committed, to find bit rot.

A manifest is a file of lines: a heading, one line for each entry, `<crc32> <json>`, in any order,
and `end <count> <sha256> <bytes on disk>`. Each line can be checked alone, so a sample needs a few
reads.

Invariant: a manifest without its end is none; its snapshot counts as not verified yet.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import re
import stat
import zlib
from json.encoder import encode_basestring_ascii as _quote
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from layerline.engine.store.snapshot_walk import lookup, walk, xattrs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from layerline.engine.store.snapshot_walk import Found

NAME = "manifest"
_HEADING = b"layerline manifest 1\n"
_END = b"end "
_END_LINE = re.compile(rb"end (\d+) ([0-9a-f]{64}) (\d+)\n")
_LONGEST_END = 200
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CHUNK = 1 << 20  # of files with holes; their digests depend on it
_PIECE = 1 << 18  # read at once: it stays in the processor's cache until it is hashed
_LINES = 256  # written at once
_MOST_KNOWN = 200_000  # files: about 60 MB
_SPARSE = "sparse:"
_UNREADABLE = "unreadable: "
_SAMPLED_BYTES = 1 << 20  # larger files are sampled by their metadata alone
_WINDOW = 1 << 14
_PARTS = ("type", "mode", "owner", "owner", "size", "time", "content", "attributes")


class Entry(NamedTuple):
    """What is recorded of an entry. `path` is relative, and empty for the root.

    `payload` is the SHA-256 of a file's bytes, a link's target, or a device's number; for a file
    with holes, "sparse:" and the SHA-256 of the pieces that are not zero. `mtime` is in
    nanoseconds, `xattrs` are in hexadecimal digits.
    """

    path: str
    kind: int
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    payload: str
    xattrs: dict[str, str]


class KnownFiles:
    """The digests of files that this session has read, by inode: a link to one is not read again.

    Only files of finished layers are known, which never change. `forget` is for a layer that is
    removed, as its inodes may then be those of other files.
    """

    def __init__(self) -> None:
        self._payloads: dict[tuple[int, int], tuple[int, int, str]] = {}

    def payload(self, info: os.stat_result) -> str | None:
        """The payload of a file with several links and without attributes."""
        if info.st_nlink == 1:
            return None
        size, mtime, payload = self._payloads.get((info.st_dev, info.st_ino), (-1, -1, ""))
        return payload if (size, mtime) == (info.st_size, info.st_mtime_ns) else None

    def add(self, info: os.stat_result, payload: str) -> None:
        """Remember a file that has no attributes, while there is room."""
        if len(self._payloads) < _MOST_KNOWN:
            self._payloads[info.st_dev, info.st_ino] = info.st_size, info.st_mtime_ns, payload

    def forget(self) -> None:
        """Forget all files."""
        self._payloads.clear()


class DamagedManifest(Exception):
    """A manifest whose end is intact, but not all of its lines."""


def write_manifest(
    fs: Path,
    target: Path,
    *,
    known: Mapping[str, str] | None = None,
    files: KnownFiles | None = None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Write the manifest of a layer. `known` are digests of files by path: these are not read.

    Nor are `files`, and those that are read are added. Once `is_cancelled`, it raises
    InterruptedError.
    """
    digests = known or {}
    hasher = hashlib.sha256(_HEADING)
    with target.open("wb") as out:
        out.write(_HEADING)
        count = size = 0
        lines: list[bytes] = []
        for found in walk(fs):
            if is_cancelled():
                raise InterruptedError
            size += _disk_usage(found.stat)
            lines.append(_line(_known_entry(found, digests.get(found.path), files)))
            count += 1
            if len(lines) == _LINES:
                _flush(lines, out, hasher)
        _flush(lines, out, hasher)
        out.write(b"%s%d %s %d\n" % (_END, count, hasher.hexdigest().encode(), size))


def _known_entry(found: Found, digest: str | None, files: KnownFiles | None) -> Entry:
    """What an entry is, without reading it if its digest is known."""
    info = found.stat
    if files is None or digest is not None or not stat.S_ISREG(info.st_mode):
        return _entry(found, digest)
    payload = files.payload(info)
    if payload is not None:
        return Entry(
            path=found.path,
            kind=stat.S_IFREG,
            mode=stat.S_IMODE(info.st_mode),
            uid=info.st_uid,
            gid=info.st_gid,
            size=info.st_size,
            mtime=info.st_mtime_ns,
            payload=payload,
            xattrs={},
        )
    entry = _entry(found, None)
    if not entry.xattrs and not entry.payload.startswith(_UNREADABLE):
        files.add(info, entry.payload)
    return entry


def _flush(lines: list[bytes], out: BinaryIO, hasher: hashlib._Hash) -> None:
    data = b"".join(lines)
    hasher.update(data)
    out.write(data)
    lines.clear()


def read_manifest(path: Path) -> list[Entry] | None:
    """The entries, or None without a complete manifest."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    body, end = _split(data)
    if end is None:
        return None
    count, digest, _ = end
    lines = body[len(_HEADING) :].splitlines(keepends=True)
    if len(lines) != count or hashlib.sha256(body).hexdigest() != digest:
        raise DamagedManifest(path.name)
    return [_parse(line) for line in lines]


def recorded_size(path: Path) -> int | None:
    """The bytes that a snapshot took when its manifest was written; None without a manifest.

    Files that other snapshots have, too, count with their share.
    """
    try:
        with path.open("rb") as file:
            file.seek(-min(_LONGEST_END, os.fstat(file.fileno()).st_size), os.SEEK_END)
            end = _split(_HEADING + file.read())[1]
    except OSError:
        return None
    return None if end is None else end[2]


def differences(fs: Path, entries: list[Entry]) -> Iterator[str]:
    """How a layer differs from its manifest, one text for each path."""
    recorded = {entry.path: entry for entry in entries}
    for found in walk(fs):
        entry = recorded.pop(found.path, None)
        name = found.path or "/"
        if entry is None:
            yield f"{name}: not in the manifest"
        elif text := _difference(found, entry):
            yield f"{name}: {text}"
    for path in recorded:
        yield f"{path or '/'}: missing"


def sample_differs(place: Path, count: int) -> str | None:
    """Compare some entries of a snapshot with its manifest; what differs, or None.

    `place` holds the layer `fs` and its manifest. Without a usable manifest nothing differs.
    """
    for entry in _some_entries(place / NAME, count):
        found = lookup(place / "fs", entry.path)
        name = entry.path or "/"
        if found is None:
            return f"{name}: missing"
        with found:
            text = _difference(found, entry, read=entry.size <= _SAMPLED_BYTES)
        if text:
            return f"{name}: {text}"
    return None


def _some_entries(path: Path, count: int) -> Iterator[Entry]:
    """Entries from random places of a manifest."""
    try:
        descriptor = os.open(path, _READ)
    except OSError:
        return
    try:
        size = os.fstat(descriptor).st_size
        for _ in range(count):
            at = random.randrange(max(1, size))
            lines = os.pread(descriptor, _WINDOW, at).splitlines(keepends=True)
            for line in lines[1:2]:  # the first one is cut off
                if line.endswith(b"\n") and not line.startswith(_END):
                    try:
                        yield _parse(line)
                    except DamagedManifest:
                        return
    finally:
        os.close(descriptor)


def _difference(found: Found, entry: Entry, *, read: bool = True) -> str:
    """What of an entry is not as recorded, or nothing."""
    sparse = entry.payload.startswith(_SPARSE)
    now = _entry(found, None if read else entry.payload, sparse=sparse)
    differing = [
        part for part, old, new in zip(_PARTS, entry[1:], now[1:], strict=True) if old != new
    ]
    if not differing:
        return ""
    return f"{' and '.join(dict.fromkeys(differing))} changed"


def _entry(found: Found, digest: str | None, *, sparse: bool | None = None) -> Entry:
    """What an entry is now; `digest` is known, or read as `sparse` says, or as the file is."""
    info = found.stat
    if sparse is None:
        sparse = info.st_size > _CHUNK and info.st_blocks * 512 < info.st_size
    kind = stat.S_IFMT(info.st_mode)
    if digest is None and kind == stat.S_IFREG:
        digest, xattrs = _read_file(found, sparse=sparse)
    else:
        xattrs = found.xattrs()
    return Entry(
        path=found.path,
        kind=kind,
        mode=stat.S_IMODE(info.st_mode),
        uid=info.st_uid,
        gid=info.st_gid,
        size=0 if kind == stat.S_IFDIR else info.st_size,
        mtime=info.st_mtime_ns,
        payload=_payload(found, kind) if digest is None else digest,
        xattrs=xattrs,
    )


def _payload(found: Found, kind: int) -> str:
    if kind == stat.S_IFLNK:
        return os.readlink(found.name, dir_fd=found.directory)
    return str(found.stat.st_rdev) if kind in (stat.S_IFCHR, stat.S_IFBLK) else ""


def _read_file(found: Found, *, sparse: bool) -> tuple[str, dict[str, str]]:
    """The digest and the attributes of a file; an error of the disk is a difference, too."""
    try:
        descriptor = _open(found)
        try:
            size = found.stat.st_size
            digest = _sparse_digest(descriptor) if sparse else _digest(descriptor, size)
            return digest, xattrs_of(descriptor)
        finally:
            os.close(descriptor)
    except OSError as exc:
        return f"{_UNREADABLE}{exc.strerror}", found.xattrs()


def _digest(descriptor: int, size: int) -> str:
    data = os.read(descriptor, min(size, _PIECE))
    hasher = hashlib.sha256(data)
    left = size - len(data)
    while left > 0 and (data := os.read(descriptor, min(left, _PIECE))):
        hasher.update(data)
        left -= len(data)
    return hasher.hexdigest()


def _sparse_digest(descriptor: int) -> str:
    """The digest of offsets and bytes; zeros count the same as a hole, which takes no time."""
    hasher = hashlib.sha256()
    at = 0
    while True:
        try:
            at = max(at, os.lseek(descriptor, at, os.SEEK_DATA) // _CHUNK * _CHUNK)
        except OSError as exc:
            if exc.errno == errno.ENXIO:
                break
            raise
        data = os.pread(descriptor, _CHUNK, at)
        if not data:
            break
        if data.count(0) != len(data):
            hasher.update(b"%d:" % at)
            hasher.update(data)
        at += len(data)
    return _SPARSE + hasher.hexdigest()


def _open(found: Found) -> int:
    """Open a file without a change of its access time, which would be written to disk."""
    try:
        return os.open(found.name, _READ | os.O_NOATIME, dir_fd=found.directory)
    except PermissionError:  # only its owner may leave the time as it is
        return os.open(found.name, _READ, dir_fd=found.directory)


def _line(entry: Entry) -> bytes:
    """The entry as a line: JSON, put together here since an encoder takes as long as a stat."""
    path, kind, mode, uid, gid, size, mtime, payload, xattrs = entry
    attributes = json.dumps(xattrs, separators=(",", ":")) if xattrs else "{}"
    numbers = f"{kind},{mode},{uid},{gid},{size},{mtime}"
    text = f"[{_quote(path)},{numbers},{_quote(payload)},{attributes}]"
    data = text.encode()
    return b"%08x %s\n" % (zlib.crc32(data), data)


def _parse(line: bytes) -> Entry:
    checksum, _, data = line.rstrip(b"\n").partition(b" ")
    try:
        if int(checksum, 16) == zlib.crc32(data):
            fields: list[Any] = json.loads(data)
            return Entry(*fields)
    except (ValueError, TypeError):
        pass
    raise DamagedManifest(line[:80].decode(errors="replace"))


def _disk_usage(info: os.stat_result) -> int:
    size = min(info.st_size, info.st_blocks * 512)
    return size if stat.S_ISDIR(info.st_mode) else size // info.st_nlink


def _split(data: bytes) -> tuple[bytes, tuple[int, str, int] | None]:
    """The lines before the end, and the end's count, digest and size."""
    if not data.startswith(_HEADING) or not data.endswith(b"\n"):
        return data, None
    at = data.rfind(b"\n", 0, len(data) - 1) + 1
    found = _END_LINE.fullmatch(data[at:])
    if found is None:
        return data, None
    return data[:at], (int(found[1]), found[2].decode(), int(found[3]))
