"""Cache volumes as tar archives, to start warm on an ephemeral machine.

An archive holds `volume.json` first, then the volume's files below `data`, and last `end.json` with
their number. Invariant: a volume appears complete or not at all, and no archive can write outside
its volume.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import stat
import tarfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from layerline.engine.store.blobs import CHUNK
from layerline.engine.store.digest import canonical, digest_of
from layerline.engine.store.disk_errors import Demand, storage_error, write_errors
from layerline.engine.store.rmtree import discard_tree
from layerline.engine.store.usage import Sizes
from layerline.errors import ArchiveInvalid, StoreError
from layerline.kernel import sync_directory, sync_filesystem
from layerline.replacement import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.engine.store.store import Store
    from layerline.engine.store.usage import VolumeUse

_FORMAT = 1
_HEAD, _END, _DATA = "volume.json", "end.json", "data"
_LOCK_SECONDS = 10.0
_MAX_NOTE_BYTES = 1 << 16


def export_volume(store: Store, volume: VolumeUse, target: Path) -> int:
    """Write a volume to a file of mode 0600 and return the number of entries."""
    needed = volume.item.size
    with write_errors(f"failed to write {target}", target, needed=needed, store=store.root):
        with replacing(target) as out:
            with store.volumes.lock(volume.identity, timeout=_LOCK_SECONDS):
                count = _write_archive(volume, out)
            out.flush()
            os.fsync(out.fileno())
        sync_directory(target.parent)
    return count


def import_volume(store: Store, source: Path, *, replace: bool = False) -> str:
    """Create a volume from an exported file and return its identity."""
    if not source.exists():
        message = (
            f"failed to import {source}: no such file: name an archive of 'store volume export'"
        )
        raise StoreError(message)
    try:
        with source.open("rb") as file:
            return import_stream(store, file, str(source), replace=replace)
    except OSError as exc:
        raise storage_error(exc, f"failed to import {source}", store.root) from exc


def import_stream(
    store: Store,
    file: BinaryIO,
    source: str,
    *,
    identity: str | None = None,
    replace: bool = False,
) -> str:
    """Create a volume from an archive that is read once, and return its identity.

    `source` names the archive in errors; with `identity` it has to be that volume's.
    """
    part = store.scratch / f"import-{secrets.token_hex(4)}"
    try:
        part.mkdir(mode=0o700)
        found = _extract(file, part, source)
        if identity is not None and found != identity:
            raise _invalid(source, f"it is the volume {found!r}, not {identity!r}")
        (part / "identity.json").write_bytes(canonical(found))
        place = store.root / "volumes" / digest_of(found)
        with store.volumes.lock(found, timeout=_LOCK_SECONDS):
            if place.exists():
                if not replace:
                    message = f"volume {found} already exists: use --replace to replace it"
                    raise StoreError(message)
                place.rename(store.scratch / f"replaced-{secrets.token_hex(4)}")
            sync_filesystem(part)
            part.rename(place)
            sync_directory(place.parent)
    except OSError as exc:
        demand = Demand(written=Sizes().of(part))
        raise storage_error(exc, f"failed to import {source}", store.root, demand) from exc
    finally:
        discard_tree(part)
    return found


def _write_archive(volume: VolumeUse, out: BinaryIO) -> int:
    out.write(head_note(volume.identity))
    count = 0
    for member, path in list_members(volume):
        out.write(_header(member))
        if member.isreg():
            _copy_file(path, member.size, out)
        count += 1
    out.write(end_note(count))
    return count


def list_members(volume: VolumeUse) -> Iterator[tuple[tarfile.TarInfo, Path]]:
    """The entries of a volume's archive, each with the path that its bytes are read from."""
    root = volume.item.place / "data"
    with tarfile.open(fileobj=io.BytesIO(), mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in _list_files(root):
            name = PurePosixPath(_DATA, path.relative_to(root).as_posix())
            member = archive.gettarinfo(path, arcname=str(name))
            if member.isreg() or member.isdir() or member.issym() or member.islnk():
                yield member, path  # a socket or pipe is useless elsewhere


def head_note(identity: str) -> bytes:
    """What an archive begins with."""
    return _note(_HEAD, {"format": _FORMAT, "identity": identity})


def end_note(entries: int) -> bytes:
    """What an archive of that many entries ends with."""
    return _note(_END, {"entries": entries}) + bytes(2 * tarfile.BLOCKSIZE)


def _copy_file(path: Path, size: int, out: BinaryIO) -> None:
    with path.open("rb") as file:
        left = size
        while left and (data := file.read(min(left, CHUNK))):
            out.write(data)
            left -= len(data)
    if left:
        message = f"{path} became shorter while it was read: try again"
        raise StoreError(message)
    out.write(bytes(-size % tarfile.BLOCKSIZE))


def _list_files(root: Path) -> list[Path]:
    found = [root]
    for folder, folders, files in os.walk(root):
        folders.sort()
        found += [Path(folder, name) for name in sorted([*folders, *files])]
    return found


def _note(name: str, document: dict[str, object]) -> bytes:
    data = canonical(document)
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return _header(info) + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def _header(member: tarfile.TarInfo) -> bytes:
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _extract(file: BinaryIO, part: Path, source: str) -> str:
    try:
        with tarfile.open(fileobj=file, mode="r|") as archive:
            members = iter(archive)
            head = _read_note(archive, next(members, None), _HEAD)
            identity, form = head.get("identity"), head.get("format")
            if form != _FORMAT or not isinstance(identity, str):
                raise _invalid(source, f"unknown format {form!r}")
            times: list[tuple[Path, float]] = []
            count = 0
            member = next(members, None)
            while member is not None and member.name != _END:
                _extract_member(archive, member, part, times, source)
                count += 1
                member = next(members, None)
            if _read_note(archive, member, _END).get("entries") != count:
                raise _invalid(source, "entries are missing")
            for path, mtime in reversed(times):
                os.utime(path, (mtime, mtime))
    except (tarfile.TarError, ValueError, EOFError) as exc:
        raise _invalid(source, str(exc)) from exc
    return identity


def _read_note(
    archive: tarfile.TarFile, member: tarfile.TarInfo | None, name: str
) -> dict[str, object]:
    file = archive.extractfile(member) if member is not None and member.isreg() else None
    if member is None or file is None or member.name != name or member.size > _MAX_NOTE_BYTES:
        message = f"{name} is missing"
        raise ValueError(message)
    document = json.loads(file.read())
    if not isinstance(document, dict):
        message = f"{name} is not a JSON object"
        raise ValueError(message)  # noqa: TRY004  one error for any invalid archive
    return document


def _extract_member(
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    part: Path,
    times: list[tuple[Path, float]],
    source: str,
) -> None:
    """Extract one entry; its parents must be real directories."""
    path = _member_path(part, member.name, source)
    if member.isdir():
        path.mkdir()
        path.chmod(stat.S_IMODE(member.mode))
        times.append((path, member.mtime))
    elif member.issym():
        path.symlink_to(member.linkname)
    elif member.islnk():
        other = _member_path(part, member.linkname, source)
        if not stat.S_ISREG(other.lstat().st_mode):
            raise _invalid(source, f"{member.name} is not a link to a file")
        os.link(other, path, follow_symlinks=False)
        return
    elif member.isreg():
        _extract_file(archive, member, path)
    else:
        raise _invalid(source, f"{member.name} is not a file, directory or link")
    if os.geteuid() == 0:
        os.chown(path, member.uid, member.gid, follow_symlinks=False)
        if not member.issym():
            path.chmod(stat.S_IMODE(member.mode))  # chown clears set-id bits


def _extract_file(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    data = archive.extractfile(member)
    assert data is not None  # a regular file has bytes
    with path.open("xb") as file:
        for chunk in iter(lambda: data.read(CHUNK), b""):
            file.write(chunk)
        if file.tell() != member.size:
            message = f"{member.name} is truncated"
            raise ValueError(message)
    path.chmod(stat.S_IMODE(member.mode))
    os.utime(path, (member.mtime, member.mtime))


def _member_path(part: Path, name: str, source: str) -> Path:
    names = name.split("/")
    if names[0] != _DATA or any(each in ("", ".", "..") for each in names) or "\0" in name:
        raise _invalid(source, f"invalid entry {name!r}")
    above = part
    for each in names[:-1]:
        above /= each
        if above.is_symlink() or not above.is_dir():
            raise _invalid(source, f"the parent of {name} is not a directory")
    return above / names[-1]


def _invalid(source: str, why: str) -> ArchiveInvalid:
    return ArchiveInvalid(
        f"{source} is not a volume written by 'layerline store volume export': {why}"
    )
