"""How each op is evaluated: one function for each kind, blocking, in a thread of the solver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerline.engine.solve import ops
from layerline.engine.solve.result import Result
from layerline.engine.solve.steps import copies, diffs, dockerfile_copy, exec, files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from layerline.engine.solve.step_context import StepContext

EVALUATORS: dict[type[ops.Op], Callable[[Any, StepContext], Result]] = {
    ops.NewFile: files.new_file,
    ops.NewDirectory: files.new_directory,
    ops.Symlink: files.symlink,
    ops.Remove: files.remove,
    ops.Chown: files.chown,
    ops.Timestamps: files.timestamps,
    ops.Replaced: files.replace_text,
    ops.CopyDirectory: copies.copy_directory,
    ops.CopyFile: copies.copy_file,
    ops.Diff: diffs.diff,
    ops.Changed: diffs.apply_changes,
    ops.Patched: diffs.apply_patch,
    ops.ChangesPatch: diffs.make_patch,
    ops.Exec: exec.run,
    ops.DockerfileCopy: dockerfile_copy.copy_into,
}

VIEWS = (ops.Scratch, ops.Stored, ops.ExecRootfs, ops.ExecMount)
"""Ops that only refer to existing trees: nothing is evaluated and nothing is recorded."""


def view(op: ops.Op, inputs: Mapping[str, Result]) -> Result:
    """The files of such an op."""
    match op:
        case ops.Stored():
            return Result(layers=op.snapshots)
        case ops.ExecRootfs():
            return Result(layers=inputs[op.exec.key].layers)
        case ops.ExecMount():
            return Result(layers=inputs[op.exec.key].mounts[op.index])
        case _:
            return Result()


def evaluate(op: ops.Op, step: StepContext) -> Result:
    """What an op gives; the results of its parents are in `step`."""
    return EVALUATORS[type(op)](op, step)
