"""The marks of overlayfs in a layer: whiteouts, opaque directories, and the attributes that are not
content.

Invariant: what is marked here, the kernel reads the same way when the layer is mounted.
"""

from __future__ import annotations

import errno
import os
import stat

EPOCH = 315532800
OPAQUE = "trusted.overlay.opaque"
OPAQUE_ROOTLESS = "user.overlay.opaque"
_OWN = ("trusted.overlay.", "user.overlay.")


def is_whiteout(info: os.stat_result) -> bool:
    """Whether this entry says that the name is gone."""
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def make_whiteout(path: str) -> None:
    """Say that the name is gone."""
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(0, 0))


def is_opaque(path: str) -> bool:
    """Whether this directory hides those below it."""
    return any(_attribute(path, name) == b"y" for name in (OPAQUE, OPAQUE_ROOTLESS))


def make_opaque(path: str) -> None:
    """Let this directory hide those below it."""
    try:
        os.setxattr(path, OPAQUE, b"y", follow_symlinks=False)
    except PermissionError:
        os.setxattr(path, OPAQUE_ROOTLESS, b"y", follow_symlinks=False)


def link_target(path: str) -> str:
    """What a symbolic link says, to the byte; pathlib would tidy it."""
    return os.readlink(path)  # noqa: PTH115


def attributes(path: str) -> dict[str, bytes]:
    """The extended attributes that are content: all but overlayfs' own."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as exc:
        if exc.errno == errno.ENOTSUP:
            return {}
        raise
    return {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in names
        if not name.startswith(_OWN)
    }


def _attribute(path: str, name: str) -> bytes | None:
    try:
        return os.getxattr(path, name, follow_symlinks=False)
    except OSError as exc:
        if exc.errno in (errno.ENODATA, errno.ENOTSUP):
            return None
        raise
