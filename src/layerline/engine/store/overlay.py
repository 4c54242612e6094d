"""The markers of overlayfs in a layer: whiteouts, opaque directories, and its own attributes.

Invariant: the kernel reads these markers the same way when the layer is mounted.
https://docs.kernel.org/filesystems/overlayfs.html
"""

from __future__ import annotations

import errno
import os
import stat

OPAQUE = "trusted.overlay.opaque"
OPAQUE_ROOTLESS = "user.overlay.opaque"
_OWN = ("trusted.overlay.", "user.overlay.")


def is_whiteout(info: os.stat_result) -> bool:
    """Whether this entry hides the name in the layers below."""
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def make_whiteout(path: str) -> None:
    """Hide the name in the layers below."""
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(0, 0))


def is_opaque(path: str) -> bool:
    """Whether this directory hides its content in the layers below."""
    return any(_attribute(path, name) == b"y" for name in (OPAQUE, OPAQUE_ROOTLESS))


def make_opaque(path: str) -> None:
    """Make this directory hide its content in the layers below."""
    try:
        os.setxattr(path, OPAQUE, b"y", follow_symlinks=False)
    except PermissionError:
        os.setxattr(path, OPAQUE_ROOTLESS, b"y", follow_symlinks=False)


def link_target(path: str) -> str:
    """The exact target of a symbolic link; pathlib would normalise it."""
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
