"""Directories: a place in a lazy tree, read on request and changed by ops on the tree."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from layerline.engine.api import container_export
from layerline.engine.api.container_paths import under
from layerline.engine.api.fields import field
from layerline.engine.api.host_export import export_directory
from layerline.engine.api.host_paths import host_path
from layerline.engine.api.names import check_name
from layerline.engine.api.objects import Directory, File, Stat
from layerline.engine.api.resolvers.container_files import copy_directory, copy_file
from layerline.engine.api.tree_access import (
    by_content,
    directory_in,
    exists_at,
    file_in,
    stat_at,
    tree_of,
    tree_with,
)
from layerline.engine.solve import ops
from layerline.engine.store.tree_digest import tree_digest
from layerline.errors import PathError, PathNotFound, QueryError
from layerline.patterns import Matcher, PatternError

if TYPE_CHECKING:
    from layerline.engine.api.session import Call
    from layerline.engine.store.tree import Entry


@field("Directory", "sync")
async def sync(self: Directory, call: Call) -> str:
    """Evaluate the directory and return its id."""
    directory_in(await tree_of(call, self.tree), self.path)
    return call.session.identify(self)


@field("Directory", "name")
async def name(self: Directory, call: Call) -> str:
    """The last part of the path and a slash."""
    directory_in(await tree_of(call, self.tree), self.path)
    return posixpath.basename(self.path) + "/"


@field("Directory", "digest")
async def digest(self: Directory, call: Call) -> str:
    """The digest of names, modes, owners and bytes; times do not count."""
    tree = await tree_of(call, self.tree)
    directory_in(tree, self.path)
    return "sha256:" + await call.session.solver.in_thread(tree_digest, tree, self.path)


@field("Directory", "entries")
async def entries(self: Directory, call: Call, *, path: str = "") -> list[str]:
    """The names in a directory; those of directories end in a slash."""
    tree = await tree_of(call, self.tree)
    entry = directory_in(tree, under(self.path, path).rstrip("/") or "/")
    return [_listed_name(child, child.name) for child in tree.children(entry)]


@field("Directory", "glob")
async def glob(self: Directory, call: Call, *, pattern: str) -> list[str]:
    """The paths that match a pattern, each after its directory."""
    try:
        matcher = Matcher([pattern])
    except PatternError as exc:
        message = f"invalid pattern {pattern!r}: {exc}"
        raise QueryError(message) from exc
    tree = await tree_of(call, self.tree)
    directory_in(tree, self.path)

    def match() -> list[str]:
        top = tree.lookup(self.path).path.rstrip("/") + "/"
        relative = ((entry, entry.path.removeprefix(top)) for entry in tree.walk(self.path))
        return [
            _listed_name(entry, path) for entry, path in relative if matcher.matches_exactly(path)
        ]

    return await call.session.solver.in_thread(match)


def _listed_name(entry: Entry, path: str) -> str:
    return path + "/" if entry.is_dir else path


@field("Directory", "findUp")
async def find_up(self: Directory, call: Call, *, name: str, start: str) -> str | None:
    """The path of the nearest entry of that name, searched from `start` up to the root."""
    tree = await tree_of(call, self.tree)
    here = posixpath.normpath("/" + start)
    while True:
        path = posixpath.join(here, name)
        if tree.find(under(self.path, path), follow=False) is not None:
            return path.lstrip("/")
        if here == "/":
            return None
        here = posixpath.dirname(here)


@field("Directory", "exists")
async def exists(
    self: Directory,
    call: Call,
    *,
    path: str,
    expected_type: str | None = None,
    do_not_follow_symlinks: bool = False,
) -> bool:
    """Whether something is at a path."""
    if not path:
        return False
    inside = under(self.path, path).rstrip("/") or "/"
    return await exists_at(
        call, self.tree, inside, expected_type, follow=not do_not_follow_symlinks
    )


@field("Directory", "stat")
async def stat(
    self: Directory, call: Call, *, path: str, do_not_follow_symlinks: bool = False
) -> Stat:
    """The type, size and permissions of a path."""
    if not path:
        message = "stat"
        raise PathNotFound(message)
    inside = under(self.path, path).rstrip("/") or "/"
    return await stat_at(call, self.tree, inside, follow=not do_not_follow_symlinks)


@field("Directory", "directory")
def directory(self: Directory, _call: Call, *, path: str) -> Directory:
    """A directory below; a missing one fails when it is used."""
    return replace(self, path=under(self.path, path).rstrip("/") or "/")


@field("Directory", "file")
async def file(self: Directory, call: Call, *, path: str) -> File:
    """A file below. Raises PathNotFound if it does not exist."""
    inside = under(self.path, path).rstrip("/") or "/"
    file_in(await tree_with(call, self.tree, inside), inside)
    return File(tree=self.tree, path=inside)


@field("Directory", "withNewFile")
def with_new_file(
    self: Directory, _call: Call, *, path: str, contents: str, permissions: int = 0o644
) -> Directory:
    """Write a file; an existing one keeps its mode."""
    check_name(path)
    tree = ops.NewFile(
        base=self.tree,
        path=under(self.path, path),
        data=contents.encode(),
        mode=permissions,
        keep_mode=True,
    )
    return replace(self, tree=tree)


@field("Directory", "withNewDirectory")
def with_new_directory(
    self: Directory, _call: Call, *, path: str, permissions: int = 0o644
) -> Directory:
    """Make a directory and its parents; an existing one keeps its content."""
    clean = posixpath.normpath(path)
    if clean.startswith("../"):
        message = f"cannot create directory outside parent: {clean}"
        raise PathError(message)
    inside = under(self.path, path).rstrip("/") or "/"
    return replace(self, tree=ops.NewDirectory(base=self.tree, path=inside, mode=permissions))


@field("Directory", "withSymlink")
def with_symlink(self: Directory, _call: Call, *, target: str, link_name: str) -> Directory:
    """Make a symbolic link and its parents."""
    inside = under(self.path, link_name).rstrip("/")
    return replace(self, tree=ops.Symlink(base=self.tree, target=target, path=inside))


@field("Directory", "withFile")
def with_file(
    self: Directory,
    _call: Call,
    *,
    path: str,
    source: File,
    permissions: int | None = None,
    owner: str = "",
) -> Directory:
    """Copy a file in; its mode is kept unless one is given."""
    tree = copy_file(
        self.tree,
        under(self.path, path),
        source,
        permissions=permissions,
        owner=owner,
    )
    return replace(self, tree=tree)


@field("Directory", "withFiles")
def with_files(
    self: Directory,
    call: Call,
    *,
    path: str,
    sources: list[File],
    permissions: int | None = None,
) -> Directory:
    """Copy several files under their own names."""
    for source in sources:
        target = posixpath.join(path, posixpath.basename(source.path))
        self = with_file(self, call, path=target, source=source, permissions=permissions)
    return self


@field("Directory", "withDirectory")
def with_directory(
    self: Directory, _call: Call, *, path: str, source: Directory, **selection: Any
) -> Directory:
    """Merge the selected content of a directory in."""
    tree = copy_directory(self.tree, under(self.path, path), source, **selection)
    return replace(self, tree=tree)


@field("Directory", "filter")
async def filter_directory(self: Directory, call: Call, **selection: Any) -> Directory:
    """The selected content.

    If the source is identified by its content, so is the result: files that were left out do not
    change the keys of later steps.
    """
    tree: ops.Op = copy_directory(ops.Scratch(), "/", self, **selection)
    if isinstance(self.tree, ops.Stored):
        tree = await by_content(call, tree)
    return Directory(tree=tree)


@field("Directory", "withoutFile")
@field("Directory", "withoutDirectory")
def without_path(self: Directory, call: Call, *, path: str) -> Directory:
    """Remove a path; a missing one is fine."""
    return without_files(self, call, paths=[path])


@field("Directory", "withoutFiles")
def without_files(self: Directory, _call: Call, *, paths: list[str]) -> Directory:
    """Remove several paths."""
    return replace(self, tree=ops.Remove(base=self.tree, paths=tuple(paths), root=self.path))


@field("Directory", "withTimestamps")
def with_timestamps(self: Directory, _call: Call, *, timestamp: int) -> Directory:
    """Set one modification time on everything."""
    tree = ops.Timestamps(base=self.tree, path=self.path, timestamp=timestamp)
    return replace(self, tree=tree)


@field("Directory", "chown")
def chown(self: Directory, _call: Call, *, path: str, owner: str) -> Directory:
    """Change the owner of a path and of everything below it."""
    inside = under(self.path, path).rstrip("/") or "/"
    return replace(self, tree=ops.Chown(base=self.tree, path=inside, owner=owner))


@field("Directory", "export")
async def export(self: Directory, call: Call, *, path: str, wipe: bool = False) -> str:
    """Merge the files into a directory of the host and return its absolute path."""
    tree = await tree_of(call, self.tree)
    directory_in(tree, self.path)
    if (process := call.client.process) is not None:
        write = partial(container_export.export_directory, process, tree, self.path, path)
        return await call.session.solver.in_thread(partial(write, wipe=wipe))
    target = host_path(call, path)
    await call.session.solver.in_thread(
        partial(export_directory, tree, self.path, target, wipe=wipe)
    )
    return str(target)
