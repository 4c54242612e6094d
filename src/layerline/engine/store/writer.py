"""Writes a new top layer over a tree, as overlayfs would, without mounting anything.

Invariant: only the top is written, and only through paths resolved inside the tree; files of
finished layers are shared, never changed. New entries have the time EPOCH: equal calls create equal
layers.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.engine.store.epoch import EPOCH
from layerline.engine.store.file_metadata import NANOSECONDS, FileMetadata, apply_metadata, clone
from layerline.engine.store.merge import Merge
from layerline.engine.store.overlay import attributes, make_opaque, make_whiteout
from layerline.engine.store.rmtree import remove_tree
from layerline.engine.store.tree import Entry, Tree
from layerline.errors import IsADirectory, NotADirectory, PathExists, PathNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.patterns import PathPredicate


Owner = tuple[int, int]
ROOT: Owner = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOptions:
    """How a directory is copied into another.

    `path_filter` gets paths relative to the source directory. `owner` and `mode` replace those of
    the source, except the mode of links. Without `share` every file is a copy, for places that are
    written to later. `through_links` merges as Dagger's withDirectory: through links to directories
    instead of replacing them, over a file at the destination, and an existing directory there gets
    the source's metadata, too.
    """

    path_filter: PathPredicate | None = None
    owner: Owner | None = None
    mode: int | None = None
    share: bool = True
    through_links: bool = False


COPY_ALL = CopyOptions()


class Writer:
    """Writes into `top`, an empty directory that becomes the layer above `base`.

    `view` shows the result so far. The top gets the metadata of the root below it, which it hides.
    """

    def __init__(self, base: Tree, top: Path) -> None:
        self.view = Tree((*base.layers, top))
        if base.layers:
            root = base.lookup("/")
            apply_metadata(str(top), FileMetadata.of(root.stat), attributes(root.location))

    def mkdir(
        self,
        path: str,
        *,
        mode: int = 0o755,
        owner: Owner = ROOT,
        parents: bool = True,
        parent_mode: int = 0o755,
    ) -> None:
        """Create a directory; an existing one is left unchanged."""
        where, entry = self.view.resolve(path)
        if entry is None:
            parent = self._ensure_parent(where, path, missing=parents, mode=parent_mode)
            self.make_directory(parent, _name(where), _new_metadata(mode, owner))
        elif not entry.is_dir:
            message = f"{path}: not a directory"
            raise NotADirectory(message)

    def write(
        self,
        path: str,
        data: bytes,
        *,
        mode: int | None = None,
        owner: Owner | None = None,
        replace: bool = False,
    ) -> None:
        """Write a file, creating its parents and replacing an existing file.

        A link at the end is followed, or replaced with `replace`. Mode and owner default to those
        of the existing file, or else to 0644 and root.
        """
        where, entry = self.view.resolve(path, follow=not replace)
        if entry is not None and entry.is_dir:
            message = f"{path}: is a directory"
            raise IsADirectory(message)
        metadata = _new_metadata(0o644 if mode is None else mode, ROOT if owner is None else owner)
        if entry is not None and entry.is_file:
            metadata = FileMetadata.of(entry.stat, mode=mode, owner=owner, mtime=EPOCH)
        with self._slot(where, path) as place:
            Path(place).write_bytes(data)
        apply_metadata(place, metadata)

    def put_file(
        self,
        path: str,
        source: Entry | Path,
        *,
        mode: int | None = None,
        owner: Owner | None = None,
        mtime: int | None = None,
    ) -> None:
        """Copy a file to the path, creating its parents and replacing what exists.

        An Entry comes from a finished layer and is hard-linked if its metadata stays the same; a
        Path is copied. `mtime` is in seconds.
        """
        where, _ = self.view.resolve(path, follow=False)
        if where == "/":
            message = f"{path}: is a directory"
            raise IsADirectory(message)
        location = source.location if isinstance(source, Entry) else str(source)
        info = source.stat if isinstance(source, Entry) else os.lstat(source)
        metadata = FileMetadata.of(info, mode=mode, owner=owner, mtime=mtime)
        with self._slot(where, path) as place:
            clone(location, info, place, metadata, share=isinstance(source, Entry))

    def symlink(self, target: str, path: str, *, owner: Owner = ROOT) -> None:
        """Create a symbolic link and its parents; the path must not exist."""
        where, entry = self.view.resolve(path, follow=False)
        if entry is not None:
            message = f"{path}: file exists"
            raise PathExists(message)
        with self._slot(where, path) as place:
            Path(place).symlink_to(target)
        apply_metadata(place, _new_metadata(0o777, owner))

    def remove(self, path: str) -> None:
        """Remove a file or directory tree, if it exists; the root is only emptied."""
        entry = self.view.find(path, follow=False)
        if entry is None:
            return
        if entry.path == "/":
            for child in self.view.scan("/"):
                self.remove(child.path)
            return
        parent = self._ensure_parent(entry.path, path)
        name = _name(entry.path)
        place = self.vacate(parent, name)
        if self.view.child(parent, name) is not None:
            with _preserve_times(parent.location):
                make_whiteout(place)

    def set(
        self,
        path: str,
        *,
        mode: int | None = None,
        owner: Owner | None = None,
        mtime: int | None = None,
        recursive: bool = False,
    ) -> None:
        """Change mode, owner or time (in seconds); a link at the end is not followed."""
        entry = self.view.lookup(path, follow=False)
        below = list(self.view.walk(entry.path)) if recursive and entry.is_dir else []
        for each in (*reversed(below), entry):
            place = self._make_private(each)
            link = each.is_symlink
            apply_metadata(
                place,
                FileMetadata.of(each.stat, mode=None if link else mode, owner=owner, mtime=mtime),
            )

    def copy(
        self, source: Tree, source_path: str, path: str, options: CopyOptions = COPY_ALL
    ) -> None:
        """Merge the content of a directory of a finished tree into a directory.

        The latter is created with its parents if it is missing. Files replace existing entries;
        existing directories get the source's metadata, except the one at `path`.
        """
        origin = source.lookup(source_path)
        if not origin.is_dir:
            message = f"{source_path}: not a directory"
            raise NotADirectory(message)
        where, entry = self.view.resolve(path)
        metadata = FileMetadata.of(origin.stat, owner=options.owner, mode=options.mode)
        if options.through_links and entry is not None and not entry.is_dir:
            where, entry = self.view.resolve(path, follow=False)[0], None
        if entry is None:
            parent = self._ensure_parent(where, path)
            self.make_directory(parent, _name(where), metadata, attributes(origin.location))
        elif options.through_links and where != "/" and not self._is_own(entry):
            apply_metadata(self.directory(where).location, metadata, attributes(origin.location))
        Merge(self, source, options).apply(origin, lambda: self.directory(where))

    def _is_own(self, entry: Entry) -> bool:
        return entry.location.startswith(f"{self.view.layers[-1]}/")

    @contextlib.contextmanager
    def _slot(self, where: str, asked: str) -> Iterator[str]:
        """Yield a vacant location on disk for a resolved path, after creating its parents."""
        parent = self._ensure_parent(where, asked)
        place = self.vacate(parent, _name(where))
        with _preserve_times(parent.location):
            yield place

    def _ensure_parent(
        self, where: str, asked: str, *, missing: bool = True, mode: int = 0o755
    ) -> Entry:
        above = where.rpartition("/")[0] or "/"
        if not missing and self.view.find(above) is None:
            raise PathNotFound(asked)
        return self.directory(above, mode=mode)

    def directory(self, where: str, *, mode: int = 0o755) -> Entry:
        """The directory at a resolved path, copied up to the top or created with its parents."""
        here = self.view.lookup("/")
        for name in filter(None, where.split("/")):
            here = self._descend(here, name, mode=mode)
        return here

    def _descend(self, here: Entry, name: str, *, mode: int = 0o755) -> Entry:
        child = self.view.child(here, name)
        if child is None:
            return self.make_directory(here, name, _new_metadata(mode, ROOT))
        if not child.is_dir:
            message = f"{child.path}: not a directory"
            raise NotADirectory(message)
        return self.copy_up(here, child)

    def copy_up(self, here: Entry, child: Entry) -> Entry:
        """Copy a directory up to the top, where its parent `here` already is."""
        place = f"{here.location}/{child.name}"
        if child.location == place:
            return child
        with _preserve_times(here.location):
            Path(place).mkdir(0o700)
        apply_metadata(place, FileMetadata.of(child.stat), attributes(child.location))
        return _require(self.view.child(here, child.name))

    def make_directory(
        self, here: Entry, name: str, metadata: FileMetadata, xattrs: dict[str, bytes] | None = None
    ) -> Entry:
        """Create a directory in the top, replacing what has its name."""
        place = self.vacate(here, name)
        below = self.view.child(here, name)
        with _preserve_times(here.location):
            Path(place).mkdir(0o700)
        if below is not None and below.is_dir:
            make_opaque(place)
        apply_metadata(place, metadata, xattrs or {})
        return _require(self.view.child(here, name))

    def vacate(self, here: Entry, name: str) -> str:
        """Clear the name in the top, which uncovers the layers below."""
        place = f"{here.location}/{name}"
        with _preserve_times(here.location):
            remove_tree(Path(place))
        return place

    def _make_private(self, entry: Entry) -> str:
        """Copy an entry up to the top, not shared with any other layer."""
        if entry.is_dir:
            return self.directory(entry.path).location
        parent = self._ensure_parent(entry.path, entry.path)
        place = f"{parent.location}/{entry.name}"
        if entry.location == place and entry.stat.st_nlink == 1:
            return place
        part = f"{place[: -len(entry.name)]}.{os.urandom(8).hex()}"
        with _preserve_times(parent.location):
            clone(entry.location, entry.stat, part, FileMetadata.of(entry.stat), share=False)
            Path(part).rename(place)
        return place


def _name(where: str) -> str:
    return where.rpartition("/")[2]


def _new_metadata(mode: int, owner: Owner) -> FileMetadata:
    return FileMetadata(owner=owner, mode=mode, mtime_ns=EPOCH * NANOSECONDS)


def _require(entry: Entry | None) -> Entry:
    assert entry is not None, "a directory that was just created is missing"
    return entry


@contextlib.contextmanager
def _preserve_times(directory: str) -> Iterator[None]:
    """Restore the times of a directory after names in it have changed."""
    info = os.lstat(directory)
    yield
    os.utime(directory, ns=(info.st_atime_ns, info.st_mtime_ns))
