"""The markers of overlayfs in a layer: whiteouts, opaque directories, and its own attributes.

Invariant: the kernel reads these markers the same way when the layer is mounted. It knows them in
one namespace: `trusted.overlay.`, or `user.overlay.` where the first is not permitted (mount option
userxattr). Attributes of the other namespace, and those that the kernel has escaped for a program
(`trusted.overlay.overlay.`), are content like any other.
https://docs.kernel.org/filesystems/overlayfs.html
"""

from __future__ import annotations

import errno
import os
import stat

from layerline.kernel import has_trusted_attributes

_TRUSTED, _USER = "trusted.overlay.", "user.overlay."
_ESCAPED = "overlay."


def is_whiteout(info: os.stat_result) -> bool:
    """Whether this entry hides the name in the layers below."""
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def make_whiteout(path: str) -> None:
    """Hide the name in the layers below."""
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(0, 0))


def is_opaque(path: str | bytes) -> bool:
    """Whether this directory hides its content in the layers below."""
    return attribute(path, f"{marker_namespace()}opaque") == b"y"


def make_opaque(directory: str | int) -> None:
    """Make this directory, a path or a descriptor, hide its content in the layers below."""
    name = f"{marker_namespace()}opaque"
    if isinstance(directory, int):
        os.setxattr(directory, name, b"y")
    else:
        os.setxattr(directory, name, b"y", follow_symlinks=False)


def marker_namespace() -> str:
    """The prefix of the attributes that overlayfs reads and writes for this process."""
    return _TRUSTED if has_trusted_attributes() else _USER


def is_marker(name: str) -> bool:
    """Whether an attribute is one of overlayfs' own."""
    own = marker_namespace()
    return name.startswith(own) and not name.startswith(own + _ESCAPED)


def content_name(name: str) -> str:
    """The name that a program gave to an attribute that is content."""
    own = marker_namespace()
    return name.replace(own + _ESCAPED, own, 1) if name.startswith(own) else name


def stored_name(name: str) -> str:
    """The name under which an attribute is stored as content; the kernel escapes it this way."""
    own = marker_namespace()
    return name.replace(own, own + _ESCAPED, 1) if name.startswith(own) else name


def link_target(path: str) -> str:
    """The exact target of a symbolic link; pathlib would normalise it."""
    return os.readlink(path)  # noqa: PTH115


def attributes(place: str | bytes | int) -> dict[str, bytes]:
    """The extended attributes of a path or a descriptor that are content: not overlayfs' own.

    With a descriptor it takes a third of the time.
    """
    follow = isinstance(place, int)
    try:
        names = os.listxattr(place, follow_symlinks=follow)
    except OSError as exc:
        if exc.errno == errno.ENOTSUP:
            return {}
        raise
    return {
        name: os.getxattr(place, name, follow_symlinks=follow)
        for name in names
        if not is_marker(name)
    }


def attribute(path: str | bytes, name: str) -> bytes | None:
    """The value of an extended attribute, or None."""
    try:
        return os.getxattr(path, name, follow_symlinks=False)
    except OSError as exc:
        if exc.errno in (errno.ENODATA, errno.ENOTSUP):
            return None
        raise
