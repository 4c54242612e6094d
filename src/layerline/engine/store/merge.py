"""Merges a directory of a finished tree into a directory that is being written.

Invariant: files of the finished tree are shared or copied, never changed; the times of directories
are restored once their content is complete.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.engine.store.file_metadata import FileMetadata, apply_metadata, clone
from layerline.engine.store.overlay import attributes
from layerline.engine.store.tree import Entry
from layerline.patterns import Decision

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerline.engine.store.tree import Tree
    from layerline.engine.store.writer import CopyOptions, Writer


class Merge:
    """One merge of a directory into another, entry by entry.

    In a directory that the merge has created, names need no lookup before they are written.
    """

    def __init__(
        self,
        writer: Writer,
        source: Tree,
        options: CopyOptions,
    ) -> None:
        self._writer = writer
        self._source = source
        self._options = options
        self._copies: dict[tuple[int, int], str] = {}
        self._fresh: set[str] = set()
        self._times: dict[str, int] = {}

    def apply(self, origin: Entry, target: Callable[[], Entry]) -> None:
        """Merge the content of a directory; `target` returns the destination, created on demand."""
        pending = [(origin, "", target)]
        while pending:
            directory, prefix, above = pending.pop()
            for child in self._source.children(directory):
                relative = prefix + child.name
                decision = self._decide(relative, child)
                if decision is Decision.DROP:
                    continue
                if not child.is_dir:
                    self._add(child, above())
                    continue
                created = _LazyDirectory(self, child, above)
                if decision is Decision.KEEP:
                    created()
                pending.append((child, f"{relative}/", created))
        # Adding entries to a directory has changed its time.
        for location, mtime_ns in self._times.items():
            os.utime(location, ns=(mtime_ns, mtime_ns))

    def _decide(self, relative: str, child: Entry) -> Decision:
        """The decision on an entry; PASS is only for directories."""
        if self._options.path_filter is None:
            return Decision.KEEP
        decision = self._options.path_filter(relative, is_dir=child.is_dir)
        return decision if child.is_dir or decision is Decision.KEEP else Decision.DROP

    def directory(self, child: Entry, here: Entry) -> Entry:
        """Create or update the directory that receives the content of `child`."""
        writer = self._writer
        metadata = FileMetadata.of(child.stat, owner=self._options.owner, mode=self._options.mode)
        xattrs = attributes(child.location)
        created = self._create_in_fresh(here, child.name)
        if created is not None:
            apply_metadata(created.location, metadata, xattrs)
            self._times[created.location] = metadata.mtime_ns
            return created
        existing = writer.view.child(here, child.name)
        if existing is not None and existing.is_symlink and self._options.through_links:
            where, leads_to = writer.view.resolve(existing.path)
            if leads_to is not None and leads_to.is_dir:
                existing = writer.directory(where)
        if existing is None or not existing.is_dir:
            created = writer.make_directory(here, child.name, metadata, xattrs)
            self._fresh.add(created.location)
            self._times[created.location] = metadata.mtime_ns
            return created
        if existing.path == f"{here.path.rstrip('/')}/{child.name}":
            existing = writer.copy_up(here, existing)
        apply_metadata(existing.location, metadata, xattrs)
        self._times[existing.location] = metadata.mtime_ns
        return existing

    def _create_in_fresh(self, here: Entry, name: str) -> Entry | None:
        """Create a directory in one that the merge has created; None where a lookup is needed."""
        if here.location not in self._fresh:
            return None
        place = f"{here.location}/{name}"
        try:
            Path(place).mkdir(0o700)
        except FileExistsError:  # through a link of the base, two merge into one
            return None
        self._fresh.add(place)
        path = f"{here.path.rstrip('/')}/{name}"
        return Entry(path=path, location=place, stat=os.lstat(place), parts=(place,))

    def _add(self, child: Entry, here: Entry) -> None:
        if here.location in self._fresh:
            with contextlib.suppress(FileExistsError):  # as above
                self._place(child, f"{here.location}/{child.name}")
                return
        elif here.location not in self._times:
            self._times[here.location] = os.lstat(here.location).st_mtime_ns
        self._place(child, self._writer.vacate(here, child.name))

    def _place(self, child: Entry, place: str) -> None:
        """Copy an entry to a vacant place, or link it, or link the copy of another of its names."""
        metadata = FileMetadata.of(
            child.stat,
            owner=self._options.owner,
            mode=None if child.is_symlink else self._options.mode,
        )
        inode = (child.stat.st_dev, child.stat.st_ino)
        if inode in self._copies:
            os.link(self._copies[inode], place, follow_symlinks=False)
            return
        clone(child.location, child.stat, place, metadata, share=self._options.share)
        if child.stat.st_nlink > 1 and child.is_file:
            self._copies[inode] = place


class _LazyDirectory:
    """Creates a directory of a merge when it is first needed."""

    def __init__(self, merge: Merge, child: Entry, above: Callable[[], Entry]) -> None:
        self._merge = merge
        self._child = child
        self._above = above
        self._created: Entry | None = None

    def __call__(self) -> Entry:
        if self._created is None:
            self._created = self._merge.directory(self._child, self._above())
        return self._created
