"""Where a path of a container leads: into its root file system or into one of its mounts."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from layerline.engine.solve import ops
from layerline.errors import NotADirectory, PathError, QueryError

if TYPE_CHECKING:
    from layerline.engine.api.objects import Container

_VARIABLE = re.compile(
    r"\$(?:\{(?P<braced>[^}]*)\}|(?P<plain>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<special>[*#$@!?\-0-9])|(?P<open>\{))"
)

# What execs see and nothing else does: neither listed nor read, nor hidden by a mount above.
HIDDEN = (ops.SecretMount, ops.SocketMount)

Make = Callable[[ops.Op, str, "ops.Names | None"], ops.Op]


def expand_variables(container: Container, text: str, *, expand: bool) -> str:
    """Replace `$X` and `${X}` by the container's variables; unknown ones are empty.

    Raises QueryError for a secret variable.
    """
    if not expand:
        return text
    variables = dict(container.config.env) | dict(container.volatile)
    hidden = {name for name, _ in container.secret_env} | {name for name, _ in container.volatile}

    def value(match: re.Match[str]) -> str:
        name = match["braced"] or match["plain"] or ""
        if name in hidden:
            message = f'expand cannot be used with secret env variable "{name}"'
            raise QueryError(message)
        return variables.get(name, "")

    return _VARIABLE.sub(value, text)


def absolute(container: Container, path: str, *, expand: bool = False) -> str:
    """Resolve a path against the working directory. A final slash is kept."""
    path = expand_variables(container, path, expand=expand)
    joined = posixpath.normpath(posixpath.join("/", container.config.workdir, path))
    clean = "/" + joined.lstrip("/")
    return clean + "/" if path.endswith("/") and clean != "/" else clean


def mount_at(container: Container, path: str) -> int | None:
    """The index of the innermost mount that a path lies in; secrets and sockets do not count."""
    found = [
        index
        for index, mount in enumerate(container.mounts)
        if not isinstance(mount, HIDDEN)
        and (path.rstrip("/") == mount.target or path.startswith(mount.target.rstrip("/") + "/"))
    ]
    return max(found, key=lambda index: len(container.mounts[index].target), default=None)


def source(container: Container, path: str) -> tuple[ops.Op, str]:
    """The tree and the path in it that a container's path shows."""
    index = mount_at(container, path)
    if index is not None:
        mount = container.mounts[index]
        match mount:
            case ops.DirectoryMount() | ops.FileMount():
                return mount.source, _inside(mount, path)
            case ops.CacheMount():
                message = f"{path}: cannot retrieve path from cache"
                raise PathError(message)
            case ops.TemporaryMount():
                message = f"{path}: cannot retrieve path from tmpfs"
                raise PathError(message)
            case _:
                pass
    return container.rootfs or ops.Scratch(), path


def change_at(container: Container, path: str, make: Make, *, merge: bool = False) -> Container:
    """Apply an op to the root file system or the mount that the path lies in.

    `make` gets the tree, the path in it, and whose names count. A mount at the path itself is
    removed first, unless it is a directory to `merge` into.
    """
    root = container.rootfs or ops.Scratch()
    index = mount_at(container, path)
    if index is None:
        return replace(container, rootfs=make(root, path, None), image_ref="")
    mount = container.mounts[index]
    if not isinstance(mount, ops.DirectoryMount | ops.FileMount):
        kind = "cache" if isinstance(mount, ops.CacheMount) else "tmpfs"
        message = f"{path}: cannot retrieve path from {kind}; an exec can change it"
        raise PathError(message)
    is_file = isinstance(mount, ops.FileMount)
    if path.rstrip("/") == mount.target and (is_file or not merge):
        kept = (*container.mounts[:index], *container.mounts[index + 1 :])
        return change_at(replace(container, mounts=kept), path, make, merge=merge)
    if is_file:
        message = f"{mount.target}: not a directory"
        raise NotADirectory(message)
    tree = make(mount.source, _inside(mount, path), ops.Names(tree=root))
    mounts = (
        *container.mounts[:index],
        replace(mount, source=tree),
        *container.mounts[index + 1 :],
    )
    return replace(container, mounts=mounts, image_ref="")


def _inside(mount: ops.DirectoryMount | ops.FileMount, path: str) -> str:
    rest = path.rstrip("/").removeprefix(mount.target.rstrip("/")).lstrip("/")
    inside = posixpath.join(mount.path, rest) if rest else mount.path
    return inside + "/" if path.endswith("/") else inside


def add_mount(container: Container, mount: ops.Mount) -> Container:
    """Add a mount; it replaces those at the same path and below it.

    Secrets and sockets are mounted over files, as the Dagger engine mounts them, whatever comes
    first; a directory and one of them cannot be at the same path.
    """
    below = mount.target.rstrip("/") + "/"
    is_hidden = isinstance(mount, HIDDEN)

    def stays(other: ops.Mount) -> bool:
        if other.target == mount.target:
            over = is_hidden is not isinstance(other, HIDDEN)
            return over and (isinstance(mount, ops.FileMount) or isinstance(other, ops.FileMount))
        hides = not is_hidden and not isinstance(other, HIDDEN)
        return not (hides and other.target.startswith(below))

    kept = tuple(filter(stays, container.mounts))
    return replace(container, mounts=(*kept, mount), image_ref="")


def under(directory: str, path: str) -> str:
    """Join a relative path to a directory of a tree, which it cannot leave.

    A final slash is kept.
    """
    clean = posixpath.normpath("/" + path).lstrip("/")
    joined = posixpath.join(directory, clean) if clean else directory
    return joined + "/" if path.endswith("/") and clean else joined
