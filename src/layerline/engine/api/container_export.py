"""Files and directories written into the container of a client: its host, as on the Dagger engine.

Invariant: directories are opened one by one below the container's root and kept open, and what is
written has a name in one of them, so no link of the container leads a file to the host.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import secrets
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import kernel
from layerline.engine.api.host_export import write_file
from layerline.errors import IsADirectory, NotADirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from layerline.engine.runtime.confined_process import ConfinedProcess
    from layerline.engine.runtime.confined_root import ConfinedRoot
    from layerline.engine.store.tree import Entry, Tree

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_MODE = 0o755


def export_file(
    process: ConfinedProcess, entry: Entry, name: str, path: str, *, allow_parent: bool
) -> str:
    """Write a file; with `allow_parent` into the directory at the path. Returns its path."""
    with _writable_root(process) as root:
        target = root.resolve(process.absolute(path))
        found = root.stat(target)
        if found is not None and stat.S_ISDIR(found.st_mode):
            if not allow_parent:
                message = (
                    f'destination "{target}" is a directory; '
                    "must be a file path unless allowParentDirPath is set"
                )
                raise IsADirectory(message)
            target = posixpath.join(target, name)
        with _directory(root, posixpath.dirname(target)) as parent:
            _write_file(parent, entry, posixpath.basename(target))
        return target


def export_directory(
    process: ConfinedProcess, tree: Tree, path: str, target: str, *, wipe: bool
) -> str:
    """Merge a directory; with `wipe`, what it lacks is removed. Returns the target's path."""
    with _writable_root(process) as root:
        resolved = root.resolve(process.absolute(target))
        with _directory(root, resolved) as opened:
            _merge(tree, tree.lookup(path), opened, wipe=wipe)
        return resolved


def export_by(process: ConfinedProcess, path: str, write: Callable[[Path], object]) -> str:
    """Let `write` write the file at a path of the container. Returns its path."""
    with _writable_root(process) as root:
        target = root.resolve(process.absolute(path))
        with _directory(root, posixpath.dirname(target)) as parent:
            # Under a name that the container cannot know in advance, and link to elsewhere.
            part = f".{secrets.token_hex(16)}"
            write(_pinned(parent) / part)
            _own(parent, part)
            os.rename(part, posixpath.basename(target), src_dir_fd=parent, dst_dir_fd=parent)
        return target


@contextlib.contextmanager
def _writable_root(process: ConfinedProcess) -> Iterator[ConfinedRoot]:
    """The root of a container, whose own root creates what is created in the block."""
    with process.root() as root:
        owner = os.fstat(root.descriptor).st_uid  # another id than the container knows it by
        with kernel.creating_as(owner) if owner else contextlib.nullcontext():
            yield root


@contextlib.contextmanager
def _directory(root: ConfinedRoot, path: str) -> Iterator[int]:
    """The directory at a resolved path, which is created, open."""
    above = ""
    for name in filter(None, path.split("/")):
        with root.open_path(above or "/", _DIRECTORY) as parent:
            _make_directory(parent, name)
        above = f"{above}/{name}"
    try:
        with root.open_path(path, _DIRECTORY) as descriptor:
            yield descriptor
    except NotADirectoryError as exc:
        message = f"{path}: not a directory"
        raise NotADirectory(message) from exc


def _make_directory(parent: int, name: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, _MODE, dir_fd=parent)
        _own(parent, name)


def _merge(tree: Tree, directory: Entry, opened: int, *, wipe: bool) -> None:
    children = tree.children(directory)
    if wipe:
        for name in set(os.listdir(opened)) - {child.name for child in children}:
            _remove(opened, name)
    for child in children:
        if child.is_dir:
            _merge_child(tree, child, opened, wipe=wipe)
        elif child.is_symlink:
            _remove(opened, child.name)
            os.symlink(child.target, child.name, dir_fd=opened)
            _own(opened, child.name)
        elif child.is_file:
            _write_file(opened, child, child.name)


def _merge_child(tree: Tree, child: Entry, opened: int, *, wipe: bool) -> None:
    found = _stat(opened, child.name)
    if found is not None and not stat.S_ISDIR(found.st_mode):
        _remove(opened, child.name)
    _make_directory(opened, child.name)
    inner = os.open(child.name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=opened)
    try:
        _merge(tree, child, inner, wipe=wipe)
        os.fchmod(inner, stat.S_IMODE(child.stat.st_mode))
    finally:
        os.close(inner)


def _write_file(parent: int, entry: Entry, name: str) -> None:
    found = _stat(parent, name)
    if found is not None and stat.S_ISDIR(found.st_mode):
        _remove(parent, name)
    write_file(entry, _pinned(parent) / name, mode=entry.stat.st_mode)
    _own(parent, name)


def _own(parent: int, name: str) -> None:
    """Give what was written to the owner of its directory: the container's own root."""
    owner = os.fstat(parent)
    os.chown(name, owner.st_uid, owner.st_gid, dir_fd=parent, follow_symlinks=False)


def _stat(parent: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _remove(parent: int, name: str) -> None:
    found = _stat(parent, name)
    if found is None:
        return
    if stat.S_ISDIR(found.st_mode):
        shutil.rmtree(name, dir_fd=parent)
    else:
        os.unlink(name, dir_fd=parent)


def _pinned(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}")
