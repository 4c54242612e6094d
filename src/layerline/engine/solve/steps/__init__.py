"""How each op is evaluated: one function for each kind, blocking, in a thread of the solver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerline.engine.solve import ops
from layerline.engine.solve.placement import Placed
from layerline.engine.solve.result import Result
from layerline.engine.solve.steps import changing, copying, making, placing, running

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from layerline.engine.solve.bench import Work

EVALUATORS: dict[type[ops.Op], Callable[[Any, Work], Result]] = {
    ops.NewFile: making.new_file,
    ops.NewDirectory: making.new_directory,
    ops.Symlink: making.symlink,
    ops.Remove: making.remove,
    ops.Chown: making.chown,
    ops.Timestamps: making.timestamps,
    ops.Replaced: making.replaced,
    ops.CopyDirectory: copying.copy_directory,
    ops.CopyFile: copying.copy_file,
    ops.Diff: changing.diff,
    ops.Changed: changing.changed,
    ops.Patched: changing.patched,
    ops.ChangesPatch: changing.changes_patch,
    ops.Exec: running.run,
    Placed: placing.placed,
}

VIEWS = (ops.Scratch, ops.Stored, ops.ExecRootfs, ops.ExecMount)
"""Ops that only point at what is there: nothing is made and nothing is remembered."""


def view(op: ops.Op, inputs: Mapping[str, Result]) -> Result:
    """What such an op gives."""
    match op:
        case ops.Stored():
            return Result(layers=op.snapshots)
        case ops.ExecRootfs():
            return Result(layers=inputs[op.exec.key].layers)
        case ops.ExecMount():
            return Result(layers=inputs[op.exec.key].mounts[op.index])
        case _:
            return Result()


def evaluate(op: ops.Op, work: Work) -> Result:
    """What an op gives, its parents' results being there."""
    return EVALUATORS[type(op)](op, work)
