"""The files of a container.

Changed by ops on its root file system or on a mount, read through its mounts.
"""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from layerline.engine.api.container_paths import absolute, change_at, expand_variables, source
from layerline.engine.api.fields import field
from layerline.engine.api.names import check_name
from layerline.engine.api.objects import Container, Directory, File, Stat
from layerline.engine.api.tree_access import exists_at, stat_at
from layerline.engine.solve import ops

if TYPE_CHECKING:
    from layerline.engine.api.session import Call


@field("Container", "rootfs")
def rootfs(self: Container, _call: Call) -> Directory:
    """The root file system without mounts."""
    return Directory(tree=self.rootfs or ops.Scratch())


@field("Container", "withRootfs")
def with_rootfs(self: Container, _call: Call, *, directory: Directory) -> Container:
    """Replace the root file system; configuration and mounts stay."""
    return replace(self, rootfs=tree_of_directory(directory), image_ref="")


def tree_of_directory(directory: Directory) -> ops.Op:
    """A tree whose root is the directory."""
    if directory.path == "/":
        return directory.tree
    return ops.CopyDirectory(
        base=ops.Scratch(), path="/", source=directory.tree, source_path=directory.path
    )


@field("Container", "directory")
def directory(self: Container, _call: Call, *, path: str, expand: bool = False) -> Directory:
    """A directory, seen through mounts."""
    tree, inside = source(self, absolute(self, path, expand=expand).rstrip("/") or "/")
    return Directory(tree=tree, path=inside)


@field("Container", "file")
def file(self: Container, _call: Call, *, path: str, expand: bool = False) -> File:
    """A file, seen through mounts."""
    tree, inside = source(self, absolute(self, path, expand=expand).rstrip("/") or "/")
    return File(tree=tree, path=inside)


@field("Container", "exists")
async def exists(
    self: Container,
    call: Call,
    *,
    path: str,
    expected_type: str | None = None,
    do_not_follow_symlinks: bool = False,
    expand: bool = False,
) -> bool:
    """Whether something is at a path."""
    tree, inside = source(self, absolute(self, path, expand=expand).rstrip("/") or "/")
    return await exists_at(call, tree, inside, expected_type, follow=not do_not_follow_symlinks)


@field("Container", "stat")
async def stat(
    self: Container, call: Call, *, path: str, do_not_follow_symlinks: bool = False
) -> Stat:
    """The type, size and permissions of a path."""
    tree, inside = source(self, absolute(self, path).rstrip("/") or "/")
    return await stat_at(call, tree, inside, follow=not do_not_follow_symlinks)


@field("Container", "withNewFile")
def with_new_file(
    self: Container,
    _call: Call,
    *,
    path: str,
    contents: str,
    permissions: int = 0o644,
    owner: str = "",
    expand: bool = False,
) -> Container:
    """Write a file; an existing one is replaced, its mode too."""
    check_name(path)

    def make(base: ops.Op, inside: str, names: ops.Names | None) -> ops.Op:
        return ops.NewFile(
            base=base,
            path=inside,
            data=contents.encode(),
            mode=permissions,
            owner=owner,
            names=names,
        )

    return change_at(self, absolute(self, path, expand=expand), make)


@field("Container", "withFile")
def with_file(
    self: Container,
    _call: Call,
    *,
    path: str,
    source: File,
    permissions: int | None = None,
    owner: str = "",
    expand: bool = False,
) -> Container:
    """Copy a file in; its mode is kept unless one is given."""

    def make(base: ops.Op, inside: str, names: ops.Names | None) -> ops.Op:
        return copy_file(base, inside, source, permissions=permissions, owner=owner, names=names)

    return change_at(self, absolute(self, path, expand=expand), make)


def copy_file(
    base: ops.Op,
    path: str,
    source: File,
    *,
    permissions: int | None = None,
    owner: str = "",
    names: ops.Names | None = None,
) -> ops.Op:
    """Copy a file into a tree."""
    return ops.CopyFile(
        base=base,
        path=path,
        source=source.tree,
        source_path=source.path,
        name=posixpath.basename(source.path),
        mode=permissions,
        owner=owner,
        names=names,
    )


@field("Container", "withFiles")
def with_files(
    self: Container,
    call: Call,
    *,
    path: str,
    sources: list[File],
    permissions: int | None = None,
    owner: str = "",
    expand: bool = False,
) -> Container:
    """Copy several files under their own names."""
    into = absolute(self, path, expand=expand)
    for each in sources:
        target = posixpath.join(into, posixpath.basename(each.path))
        self = with_file(self, call, path=target, source=each, permissions=permissions, owner=owner)
    return self


@field("Container", "withDirectory")
def with_directory(
    self: Container,
    _call: Call,
    *,
    path: str,
    source: Directory,
    owner: str = "",
    expand: bool = False,
    **selection: Any,
) -> Container:
    """Merge a directory's content in.

    The mode bits given are ignored, as the Dagger engine ignores them.
    """
    selection.pop("permissions", None)

    def make(base: ops.Op, inside: str, names: ops.Names | None) -> ops.Op:
        return copy_directory(base, inside, source, owner=owner, names=names, **selection)

    return change_at(self, absolute(self, path, expand=expand), make, merge=True)


def copy_directory(
    base: ops.Op,
    path: str,
    source: Directory,
    *,
    include: list[str] | None = None,
    exclude: list[str] | None = None,
    gitignore: bool = False,
    owner: str = "",
    permissions: int | None = None,
    names: ops.Names | None = None,
) -> ops.Op:
    """Merge the selected content of a directory into `path` of a tree."""
    return ops.CopyDirectory(
        base=base,
        path=path.rstrip("/") or "/",
        source=source.tree,
        source_path=source.path,
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        gitignore=gitignore,
        owner=owner,
        mode=permissions,
        names=names,
    )


@field("Container", "withSymlink")
def with_symlink(
    self: Container, _call: Call, *, target: str, link_name: str, expand: bool = False
) -> Container:
    """Make a symbolic link."""
    target = expand_variables(self, target, expand=expand)

    def make(base: ops.Op, inside: str, _names: ops.Names | None) -> ops.Op:
        return ops.Symlink(base=base, target=target, path=inside)

    return change_at(self, absolute(self, link_name, expand=expand), make)


@field("Container", "withoutDirectory")
@field("Container", "withoutFile")
def without_path(self: Container, call: Call, *, path: str, expand: bool = False) -> Container:
    """Remove a path; a missing one is fine."""
    return without_files(self, call, paths=[path], expand=expand)


@field("Container", "withoutFiles")
def without_files(
    self: Container, _call: Call, *, paths: list[str], expand: bool = False
) -> Container:
    """Remove several paths."""
    for path in paths:
        self = change_at(self, absolute(self, path, expand=expand).rstrip("/") or "/", _removal)
    return self


def _removal(base: ops.Op, inside: str, _names: ops.Names | None) -> ops.Op:
    return ops.Remove(base=base, paths=(inside,))
