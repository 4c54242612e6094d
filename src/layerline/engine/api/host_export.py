"""Files and directories written to the caller's machine.

Each file is replaced atomically, and links at the target are not followed.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.engine.store.disk_errors import write_errors
from layerline.engine.store.format import find_store
from layerline.errors import IsADirectory, NotADirectory
from layerline.replacement import replacing

if TYPE_CHECKING:
    from layerline.engine.store.tree import Entry, Tree

_CHUNK = 1 << 20
_PARENT_MODE = 0o700


def export_directory(tree: Tree, path: str, target: Path, *, wipe: bool) -> None:
    """Merge a directory into `target`; with `wipe`, what the tree lacks is removed there."""
    if target.exists() and not target.is_dir():
        message = f"failed to export to {target}: not a directory: use another path"
        raise NotADirectory(message)
    store = find_store(tree.layers[-1])
    with write_errors(f"failed to export to {target}", target, store=store):
        make_directories(target)
        _merge(tree, tree.lookup(path), target, wipe=wipe)


def make_directories(directory: Path) -> None:
    """Make a directory and its parents with mode 0700."""
    for place in (*reversed(directory.parents), directory):
        place.mkdir(mode=_PARENT_MODE, exist_ok=True)


def _merge(tree: Tree, directory: Entry, target: Path, *, wipe: bool) -> None:
    children = tree.children(directory)
    if wipe:
        wanted = {child.name for child in children}
        for place in list(target.iterdir()):
            if place.name not in wanted:
                _remove(place)
    for child in children:
        _write_entry(tree, child, target / child.name, wipe=wipe)


def _write_entry(tree: Tree, entry: Entry, place: Path, *, wipe: bool) -> None:
    if entry.is_dir:
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            place.unlink()
        place.mkdir(exist_ok=True)
        _merge(tree, entry, place, wipe=wipe)
        place.chmod(stat.S_IMODE(entry.stat.st_mode))
        _set_time(place, entry)
        return
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    if entry.is_symlink:
        place.unlink(missing_ok=True)
        place.symlink_to(entry.target)
        _set_time(place, entry)
    elif entry.is_file:
        write_file(entry, place, mode=entry.stat.st_mode)


def export_file(entry: Entry, name: str, target: Path, *, allow_parent: bool) -> None:
    """Write a file to `target`; an existing file keeps its mode.

    With `allow_parent`, `target` may be a directory that gets the file under its `name`.
    """
    if target.is_dir():
        if not allow_parent:
            message = (
                f'destination "{target}" is a directory; '
                "must be a file path unless allowParentDirPath is set"
            )
            raise IsADirectory(message)
        target = target / name
    size, store = entry.stat.st_size, find_store(Path(entry.location))
    with write_errors(f"failed to export to {target}", target, needed=size, store=store):
        make_directories(target.parent)
        _replace_file(entry, target)


def _replace_file(entry: Entry, target: Path) -> None:
    kept = target.stat().st_mode if target.is_file() else entry.stat.st_mode
    write_file(entry, target, mode=kept)


def write_file(entry: Entry, place: Path, *, mode: int) -> None:
    """Write a file and give it its name when it is complete."""
    with entry.open() as source, replacing(place) as file:
        shutil.copyfileobj(source, file, _CHUNK)
        file.flush()
        os.fchmod(file.fileno(), stat.S_IMODE(mode))
        os.utime(file.fileno(), ns=(entry.stat.st_mtime_ns, entry.stat.st_mtime_ns))


def _set_time(place: Path, entry: Entry) -> None:
    os.utime(place, ns=(entry.stat.st_mtime_ns, entry.stat.st_mtime_ns), follow_symlinks=False)


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink()
