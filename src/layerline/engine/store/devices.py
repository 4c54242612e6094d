"""Devices in layers, also where none can be created: in a user namespace.

There an empty file with a marker of ours, which overlayfs ignores and hides from programs, stands
for a device. Its snapshot lists them, so containers can be kept from taking them for files.
"""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

from layerline.engine.store.overlay import attribute
from layerline.kernel import has_trusted_attributes

if TYPE_CHECKING:
    from pathlib import Path

LIST_FILE = "devices"
_MARKER = "user.overlay.device"  # c or b, the major and the minor number
_KINDS = {"c": stat.S_IFCHR, "b": stat.S_IFBLK}
# The fields of a status that are not in its tuple.
_STATUS = (
    *("st_atime", "st_mtime", "st_ctime", "st_atime_ns", "st_mtime_ns", "st_ctime_ns"),
    *("st_blksize", "st_blocks"),
)
# The stand-ins that this process has made, by their paths, until their layer is finished.
_MADE: list[str] = []


def make_device(path: str | bytes, kind: int, device: int, *, dir_fd: int | None = None) -> None:
    """Create a device node, or in a user namespace what stands for it.

    Raises PermissionError elsewhere.
    """
    try:
        os.mknod(path, kind | 0o600, device, dir_fd=dir_fd)
    except PermissionError:
        if has_trusted_attributes():
            raise
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(path, flags, 0o600, dir_fd=dir_fd)
        try:
            letter = next(letter for letter, each in _KINDS.items() if each == kind)
            numbers = f"{letter} {os.major(device)} {os.minor(device)}"
            os.setxattr(handle, _MARKER, numbers.encode())
            _MADE.append(os.readlink(f"/proc/self/fd/{handle}"))  # noqa: PTH115
        finally:
            os.close(handle)


def note_link(name: bytes, *, dir_fd: int) -> None:
    """List a new hard link if it is one to what stands for a device."""
    path = f"{os.readlink(f'/proc/self/fd/{dir_fd}')}/{os.fsdecode(name)}"  # noqa: PTH115
    if not has_trusted_attributes() and attribute(path, _MARKER) is not None:
        _MADE.append(path)


def device_status(path: str | bytes, info: os.stat_result) -> os.stat_result:
    """The status of an entry as it would be if devices could be created."""
    if info.st_size or not stat.S_ISREG(info.st_mode) or has_trusted_attributes():
        return info
    numbers = attribute(path, _MARKER)
    if numbers is None:
        return info
    letter, major, minor = numbers.decode().split()
    mode = _KINDS[letter] | stat.S_IMODE(info.st_mode)
    rest = {name: getattr(info, name) for name in _STATUS}
    device = os.makedev(int(major), int(minor))
    return os.stat_result((mode, *info[1:]), {**rest, "st_rdev": device})


def list_stand_ins(layer: Path) -> None:
    """Write next to a layer, once it is complete, which of its files stand for devices."""
    if not _MADE:
        return
    prefix = f"{layer.resolve()}/"
    own = [path for path in tuple(_MADE) if path.startswith(prefix)]
    for path in own:
        _MADE.remove(path)
    if own:
        names = sorted({path.removeprefix(prefix) for path in own})
        layer.with_name(LIST_FILE).write_text(json.dumps(names))


def stand_ins(layer: Path) -> list[str]:
    """The files of a finished layer that stand for devices, relative to it; some may be gone."""
    try:
        names: list[str] = json.loads(layer.with_name(LIST_FILE).read_text())
    except FileNotFoundError:
        return []
    return names
