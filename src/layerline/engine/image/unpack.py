"""Unpack an untrusted layer into a snapshot in overlay form.

Nothing outside the target is read, written, linked or changed; a member that would need it is
refused by name. Time, bytes, entries and memory are bounded. An entry of the layer wins over a
whiteout of the same layer, in whatever order they come.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.engine.image.config import LARGEST_ID
from layerline.engine.image.sparse import count_data, write_sparse
from layerline.engine.image.tarreader import Entry, Reader
from layerline.engine.image.unpack_root import UnpackRoot, refuse
from layerline.engine.image.whiteouts import OPAQUE, WHITEOUT
from layerline.engine.store.devices import make_device, note_link
from layerline.engine.store.epoch import EPOCH
from layerline.engine.store.file_metadata import FileMetadata, clone, unmapped_owner
from layerline.engine.store.overlay import make_opaque, stored_name
from layerline.errors import ArchiveInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from layerline.engine.store.tree import Entry as TreeEntry
    from layerline.engine.store.tree import Tree

# More than 16-fold are text that repeats itself, zeros and bombs.
_SUSPICIOUS = 128 << 20
_STRANGE = 16
_META = b".wh..wh."
_LONGEST_PART = 255
_KEPT_XATTRS = (b"security.capability", b"user.")
_NOT_HERE = (errno.EPERM, errno.ENOTSUP, errno.EINVAL)
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a layer, or an archive around layers, may grow to.

    `expansion` bounds the unpacked bytes per packed byte, `written` those of them that take space
    on the disk: runs of zeros become holes. What stays below the free amounts is not compared;
    `free_expansion` is what a strange image may cost in time, about 1 s of a CPU for each GiB.
    """

    size: int = 256 << 30
    entries: int = 1_000_000
    expansion: int = 200
    free_expansion: int = 4 << 30
    written: int = 100
    free_written: int = 512 << 20

    def largest(self, packed: int) -> int:
        """How many bytes `packed` bytes may unpack to."""
        return min(self.size, max(self.free_expansion, packed * self.expansion))


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackResult:
    """The number of entries, and the parent directories that are not in the layer (`implied`)."""

    entries: int
    implied: tuple[bytes, ...]


def unpack(
    chunks: Iterator[bytes],
    target: Path,
    *,
    packed: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    below: Callable[[str], TreeEntry | None] | None = None,
) -> UnpackResult:
    """Unpack a tar into the empty directory `target`. The stream is read to its end.

    `packed` is the size of the blob that it comes from, if that is compressed. `below` finds files
    of the destination by their paths, for hard links to them: ADD has one, a layer does not.
    """
    count = 0
    with UnpackRoot.open(target) as root:
        unpacker = _Unpacker(root, below)
        reader = Reader(chunks, largest=limits.size if packed is None else limits.largest(packed))
        for entry in reader.entries():
            count += 1
            if count > limits.entries:
                refuse(entry.name, f"the layer has more than {limits.entries} entries")
            with _refuse_os_errors(entry):
                unpacker.add(entry, reader)
        implied = unpacker.finish()
        return UnpackResult(entries=count, implied=implied)


def limit_expansion(
    chunks: Iterator[bytes],
    packed: int,
    limits: Limits = DEFAULT_LIMITS,
    *,
    again: Callable[[], Iterator[bytes]] | None = None,
) -> Iterator[bytes]:
    """Yield the chunks; raises ArchiveInvalid when they exceed the limits for `packed` bytes.

    `again` unpacks from the start once more. It is used where the chunks expand beyond measure, to
    see their end before more is hashed and written, which takes three times as long.
    """
    size = written = 0
    most_written = max(limits.free_written, packed * limits.written)
    for chunk in chunks:
        size += len(chunk)
        written += count_data(chunk)
        _check_size(size, packed, limits)
        if written > most_written:
            message = (
                f"the layer is refused: it expands more than {limits.written}-fold "
                "without the zeros in it"
            )
            raise ArchiveInvalid(message)
        if again is not None and size > max(_SUSPICIOUS, packed * _STRANGE):
            for total in itertools.accumulate(map(len, again())):
                _check_size(total, packed, limits)
            again = None
        yield chunk


def _check_size(size: int, packed: int, limits: Limits) -> None:
    if size > limits.size:
        message = f"the layer is refused: it unpacks to more than {limits.size} bytes"
        raise ArchiveInvalid(message)
    if size > limits.largest(packed):
        message = (
            f"the layer is refused: it expands more than {limits.expansion}-fold, "
            f"to more than {limits.free_expansion} bytes"
        )
        raise ArchiveInvalid(message)


def inherit(target: Path, implied: tuple[bytes, ...], below: Tree, at: str = "/") -> None:
    """Copy owner, mode and time of the `implied` directories from the layers below.

    `at` is the directory of those layers that the target is merged into.
    """
    with UnpackRoot.open(target) as root:
        for path in implied:
            found = below.find(f"{at.rstrip('/')}/{os.fsdecode(path)}", follow=False)
            descriptor = root.find(path)
            if found is None or not found.is_dir or descriptor is None:
                continue
            _chown(descriptor, found.stat.st_uid, found.stat.st_gid)
            os.fchmod(descriptor, found.mode)
            os.utime(descriptor, ns=(found.stat.st_atime_ns, found.stat.st_mtime_ns))


@dataclass(slots=True)
class _Unpacker:
    root: UnpackRoot
    below: Callable[[str], TreeEntry | None] | None = None
    directories: dict[bytes, Entry] = field(default_factory=dict)

    def add(self, entry: Entry, reader: Reader) -> None:
        parts = _parts(entry.name)
        _check_owner(entry)
        if not parts:
            if entry.kind != "5":
                refuse(entry.name, "the root of a layer can only be a directory")
            self.directories[b""] = entry
            return
        *above, name = parts
        parent = self.root.directory(above)
        if name == OPAQUE:
            make_opaque(parent)
        elif name.startswith(_META):
            return
        elif name.startswith(WHITEOUT):
            self._whiteout(parent, name.removeprefix(WHITEOUT), entry)
        elif entry.kind == "5":
            self._directory(parent, name, entry)
        elif entry.kind == "1":
            self._hardlink(above, name, entry)
        else:
            self._other(parent, name, entry, reader)

    def finish(self) -> tuple[bytes, ...]:
        """Set the metadata of directories, after their content; return the implied ones."""
        for path in sorted(self.directories.keys() | self.root.implied, reverse=True):
            descriptor = self.root.find(path)
            if descriptor is None:
                self.root.implied.discard(path)
            elif path in self.root.implied:
                os.utime(descriptor, (EPOCH, EPOCH))
            else:
                entry = self.directories[path]
                with _refuse_os_errors(entry):
                    _finish(descriptor, entry)
        return tuple(sorted(self.root.implied))

    def _whiteout(self, parent: int, name: bytes, entry: Entry) -> None:
        if name in (b"", b".", b".."):
            refuse(entry.name, "a whiteout of the directory itself or its parent")
        status = self.root.status(parent, name)
        if status is None:
            os.mknod(name, stat.S_IFCHR | 0o600, os.makedev(0, 0), dir_fd=parent)
        elif stat.S_ISDIR(status.st_mode):
            self._make_opaque(parent, name)

    def _directory(self, parent: int, name: bytes, entry: Entry) -> None:
        path = self.root.path_of(name)
        status = self.root.status(parent, name)
        if status is None or not stat.S_ISDIR(status.st_mode):
            hide = self.root.clear(parent, name)
            os.mkdir(name, 0o755, dir_fd=parent)
            if hide:
                self._make_opaque(parent, name)
        self.root.implied.discard(path)
        self.directories[path] = entry

    def _hardlink(self, above: list[bytes], name: bytes, entry: Entry) -> None:
        *target_above, target = _parts(entry.target) or refuse(entry.name, "a link to the root")
        self._bring_up(target_above, target)
        source = os.dup(self.root.directory(target_above, make=False))
        try:
            status, named = self.root.status(source, target), os.fsdecode(entry.target)
            if status is None:
                refuse(entry.name, f"a hard link to {named!r}, which is missing from the layer")
            if stat.S_ISDIR(status.st_mode):
                refuse(entry.name, f"a hard link to {named!r}, which is a directory")
            parent = self.root.directory(above)
            present = self.root.status(parent, name)
            if present is not None and os.path.samestat(present, status):
                return
            self.root.clear(parent, name)
            os.link(target, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
            note_link(name, dir_fd=parent)
            if self.below is not None and not stat.S_ISLNK(status.st_mode):
                _set_as_named(parent, name, entry)  # as docker's ADD does
        finally:
            os.close(source)

    def _bring_up(self, above: list[bytes], name: bytes) -> None:
        """Copy what a hard link names and the archive lacks, as overlayfs copies it up."""
        if self.below is None:
            return
        with contextlib.suppress(ArchiveInvalid):  # a directory that the archive lacks as well
            if self.root.status(self.root.directory(above, make=False), name) is not None:
                return
        found = self.below(os.fsdecode(b"/".join((*above, name))))
        if found is not None and not found.is_dir:
            place = f"/proc/self/fd/{self.root.directory(above)}/{os.fsdecode(name)}"
            metadata = FileMetadata.of(found.stat)
            clone(found.location, found.stat, place, metadata, share=False)

    def _other(self, parent: int, name: bytes, entry: Entry, reader: Reader) -> None:
        self.root.clear(parent, name)
        match entry.kind:
            case "0":
                _write(parent, name, entry, reader)
                return
            case "2":
                os.symlink(entry.target, name, dir_fd=parent)
            case "6":
                os.mkfifo(name, 0o600, dir_fd=parent)
            case "3" | "4" if (entry.kind, entry.device) != ("3", (0, 0)):
                if not _device(parent, name, entry):
                    return
            case _:
                refuse(entry.name, f"the device {entry.device} of kind {entry.kind}")
        _set_as_named(parent, name, entry)

    def _make_opaque(self, parent: int, name: bytes) -> None:
        descriptor = self.root.open_directory(parent, name)
        try:
            make_opaque(descriptor)
        finally:
            os.close(descriptor)


def _parts(name: bytes) -> list[bytes]:
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        refuse(name, "'..' in a name")
    if any(len(part) > _LONGEST_PART for part in parts):
        refuse(name, f"a part of the name has more than {_LONGEST_PART} bytes")
    return parts


def _check_owner(entry: Entry) -> None:
    if max(entry.uid, entry.gid) > LARGEST_ID:
        refuse(entry.name, f"the owner {entry.uid}:{entry.gid} is out of range")


def _write(parent: int, name: bytes, entry: Entry, reader: Reader) -> None:
    descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
    try:
        for offset, piece in reader.data():
            os.lseek(descriptor, offset, os.SEEK_SET)
            write_sparse(descriptor, piece)
        os.ftruncate(descriptor, entry.size)
        _finish(descriptor, entry)
    finally:
        os.close(descriptor)


def _device(parent: int, name: bytes, entry: Entry) -> bool:
    """Create a device if permitted; containers get their own /dev anyway."""
    kind = stat.S_IFCHR if entry.kind == "3" else stat.S_IFBLK
    try:
        make_device(name, kind, os.makedev(*entry.device), dir_fd=parent)
    except PermissionError:
        return False
    return True


def _chown(descriptor: int, uid: int, gid: int) -> None:
    if os.geteuid() == 0:
        os.fchown(descriptor, uid, gid)


def _chown_at(parent: int, name: bytes, entry: Entry) -> None:
    if os.geteuid() == 0:
        os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)


def _set_as_named(parent: int, name: bytes, entry: Entry) -> None:
    """Give a name the owner, mode and time of its entry."""
    _chown_at(parent, name, entry)
    if entry.kind != "2":
        _chmod_at(parent, name, entry.mode)
    os.utime(name, (entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)


def _chmod_at(parent: int, name: bytes, mode: int) -> None:
    """Use O_PATH: opening a pipe or device would block or act, and links must not be followed."""
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if not stat.S_ISLNK(os.fstat(handle).st_mode):
            Path(f"/proc/self/fd/{handle}").chmod(mode)
    finally:
        os.close(handle)


def _finish(descriptor: int, entry: Entry) -> None:
    _chown(descriptor, entry.uid, entry.gid)
    _set_xattrs(descriptor, entry)
    os.fchmod(descriptor, entry.mode)
    os.utime(descriptor, (entry.mtime, entry.mtime))


def _set_xattrs(descriptor: int, entry: Entry) -> None:
    """Set capabilities and user attributes; host labels and overlayfs markers are left out."""
    for name, value in entry.xattrs.items():
        if name.startswith(_KEPT_XATTRS):
            try:
                os.setxattr(descriptor, stored_name(os.fsdecode(name)), value)
            except OSError as exc:
                if exc.errno not in _NOT_HERE:
                    raise


@contextlib.contextmanager
def _refuse_os_errors(entry: Entry) -> Iterator[None]:
    """Turn an OSError that a hostile name causes into a refusal; a full disk stays an OSError."""
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS):
            raise
        reason = unmapped_owner((entry.uid, entry.gid), exc)
        refuse(entry.name, reason or exc.strerror or str(exc))
