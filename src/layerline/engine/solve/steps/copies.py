"""Copies between trees, by hard links where nothing about a file changes."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from layerline.engine.solve.steps.files import owner_of
from layerline.engine.solve.steps.layer_names import copied_layer_name
from layerline.engine.store.path_filter import PathFilter
from layerline.engine.store.writer import CopyOptions
from layerline.errors import IsADirectory, NotADirectory

if TYPE_CHECKING:
    from layerline.engine.solve import ops
    from layerline.engine.solve.result import Result
    from layerline.engine.solve.step_context import StepContext
    from layerline.engine.store.tree import Tree
    from layerline.engine.store.writer import Writer


def copy_directory(op: ops.CopyDirectory, step: StepContext) -> Result:
    """Merge the content of a directory into another."""
    owner = owner_of(op, step)
    source = step.tree(op.source)
    entry = source.lookup(op.source_path)
    if not entry.is_dir:
        message = f"path {op.source_path} is a file, not a directory"
        raise NotADirectory(message)
    path_filter = None
    if op.is_filtered:
        path_filter = PathFilter(
            source, op.source_path, include=op.include, exclude=op.exclude, gitignore=op.gitignore
        )

    def change(writer: Writer) -> None:
        writer.copy(
            source,
            op.source_path,
            op.path,
            CopyOptions(path_filter=path_filter, owner=owner, mode=op.mode, through_links=True),
        )

    name = _name(op, step)
    if name is None:
        return step.context.add_layer(step.key, step.layers(op.base), change)
    # Several steps may need it at once, each over another base: one of them creates it.
    with step.context.store.locks.exclusive(f"placed {name}", cancel=step.cancel):
        return step.context.add_layer(name, step.layers(op.base), change)


def _name(op: ops.CopyDirectory, step: StepContext) -> str | None:
    """The name of a layer that does not depend on its base; None for any other."""
    if op.is_filtered or op.owner or op.mode is not None:
        return None
    return copied_layer_name(
        step.layers(op.source), step.tree(op.source), op.source_path, step.tree(op.base), op.path
    )


def copy_file(op: ops.CopyFile, step: StepContext) -> Result:
    """Put one file at a path, or under its name into the directory at it."""
    owner = owner_of(op, step)
    entry = step.tree(op.source).lookup(op.source_path)
    if entry.is_dir:
        message = f"path {op.source_path} is a directory, not a file"
        raise IsADirectory(message)
    path = target_of(op, step.tree(op.base))

    def change(writer: Writer) -> None:
        if owner is not None and op.path.endswith("/") and op.path != "/":
            writer.mkdir(op.path)
            writer.set(op.path, owner=owner)
        writer.put_file(path, entry, mode=op.mode, owner=owner)

    return step.context.add_layer(step.key, step.layers(op.base), change)


def target_of(op: ops.CopyFile, base: Tree) -> str:
    """The path of the copy."""
    existing = base.find(op.path)
    if op.path.endswith("/") or (existing is not None and existing.is_dir):
        return posixpath.join(op.path, op.name)
    return op.path
