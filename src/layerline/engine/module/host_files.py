"""Files of the host as API values, read into the store as they are now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline.engine.api.objects import Directory, File
from layerline.engine.solve.ops import Stored
from layerline.engine.store.ingest import ingest
from layerline.engine.store.path_filter import PathFilter
from layerline.errors import NotADirectory, PathError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from layerline.engine.store.store import Store


def read_directory(
    store: Store,
    path: Path,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    gitignore: bool = False,
) -> Directory:
    """A directory of the host; patterns that lead out of it are not used."""
    if not path.exists():
        message = f"lstat {path}: no such file or directory"
        raise PathError(message)
    if not path.is_dir():
        message = f"path {path} is a file, not a directory"
        raise NotADirectory(message)
    path_filter = PathFilter.of_host(path, include=include, exclude=exclude, gitignore=gitignore)
    read = ingest(store, path, path_filter=path_filter)
    return Directory(tree=Stored(digest=read.digest, snapshots=(read.snapshot,)))


def read_file(store: Store, path: Path) -> File:
    """A file of the host."""
    if not path.is_file():
        message = f"lstat {path}: no such file or directory"
        raise PathError(message)
    parent = read_directory(store, path.parent, include=(path.name,))
    return File(tree=parent.tree, path=f"/{path.name}")
