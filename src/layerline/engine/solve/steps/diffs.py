"""Differences between trees, as layers and as patches, and putting them onto other trees."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING

from layerline.engine.solve.result import Result
from layerline.engine.store.writer import CopyOptions
from layerline.engine.trees import patch
from layerline.engine.trees.tree_diff import TreeDirectory, differences, parents, topmost
from layerline.patterns import Decision

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from layerline.engine.solve import ops
    from layerline.engine.solve.step_context import StepContext
    from layerline.engine.store.writer import Writer


def diff(op: ops.Diff, step: StepContext) -> Result:
    """What was added or changed; a directory that lost an entry counts as changed."""
    other = step.tree(op.other)
    found = differences(
        TreeDirectory(step.tree(op.base), op.base_path), TreeDirectory(other, op.other_path)
    )
    if not found:
        return Result()
    present = {each.path for each in found if each.after is not None}
    shown = present | (parents(each.path for each in found) - {each.path for each in found})
    if op.base_path == op.other_path == "/" and (tops := _own_layers(op, step, shown)):
        return Result(layers=tops)

    def path_filter(path: str, *, is_dir: bool) -> Decision:  # noqa: ARG001  as a walk asks
        return Decision.KEEP if path in shown else Decision.DROP

    return step.context.add_layer(
        step.key,
        (),
        lambda writer: writer.copy(other, op.other_path, "/", CopyOptions(path_filter=path_filter)),
    )


def _own_layers(op: ops.Diff, step: StepContext, shown: Collection[str]) -> tuple[str, ...]:
    """The layers above those of the base, if they are just the difference: that costs no copy."""
    below, layers = step.layers(op.base), step.layers(op.other)
    if layers[: len(below)] != below:
        return ()
    tops = layers[len(below) :]
    snapshots = step.context.store.snapshots
    plain = all(name in shown for top in tops for name in _names(snapshots.path(top)))
    return tops if plain else ()


def _names(layer: Path) -> Iterator[str]:
    """The paths of everything in a layer, whiteouts too."""
    pending = [(str(layer), "")]
    while pending:
        directory, prefix = pending.pop()
        with os.scandir(directory) as listing:
            for item in listing:
                yield prefix + item.name
                if item.is_dir(follow_symlinks=False):
                    pending.append((item.path, f"{prefix}{item.name}/"))


def apply_changes(op: ops.Changed, step: StepContext) -> Result:
    """Remove what was removed, then merge what was added or changed."""
    after = step.tree(op.after)
    found = differences(
        TreeDirectory(step.tree(op.before), op.before_path), TreeDirectory(after, op.after_path)
    )
    if not found:
        return Result(layers=step.layers(op.base))
    removed = topmost(each.path for each in found if each.is_removed)
    present = {each.path for each in found if each.after is not None}
    passed = parents(present)

    def path_filter(path: str, *, is_dir: bool) -> Decision:  # noqa: ARG001  as a walk asks
        if path in present:
            return Decision.KEEP
        return Decision.PASS if path in passed else Decision.DROP

    def change(writer: Writer) -> None:
        for path in removed:
            writer.remove(posixpath.join(op.path, path))
        writer.copy(after, op.after_path, op.path, CopyOptions(path_filter=path_filter))

    return step.context.add_layer(step.key, step.layers(op.base), change)


def apply_patch(op: ops.Patched, step: StepContext) -> Result:
    """Apply a unified diff to the files that it names."""
    target = TreeDirectory(step.tree(op.base), op.path)
    edits = patch.apply(step.context.store, target, op.patch)

    return step.context.add_layer(
        step.key, step.layers(op.base), lambda writer: patch.apply_edits(writer, op.path, edits)
    )


def make_patch(op: ops.ChangesPatch, step: StepContext) -> Result:
    """The file of the unified diff."""
    before = TreeDirectory(step.tree(op.before), op.before_path)
    after = TreeDirectory(step.tree(op.after), op.after_path)
    text = patch.make(step.context.store, before, after)
    return step.context.add_layer(step.key, (), lambda writer: writer.write(patch.FILE, text))
