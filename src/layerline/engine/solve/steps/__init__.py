"""How each op is evaluated: one function for each kind, blocking, in a thread of the solver."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from layerline.engine.solve import ops
from layerline.engine.solve.steps import changing, copying, making, running

if TYPE_CHECKING:
    from layerline.engine.solve.bench import Work
    from layerline.engine.solve.result import Result

EVALUATORS: dict[type[ops.Op], Callable[[Any, Work], Result]] = {
    ops.Scratch: making.scratch,
    ops.Stored: making.stored,
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
    ops.ExecRootfs: running.rootfs,
    ops.ExecMount: running.mount,
}


def evaluate(op: ops.Op, work: Work) -> Result:
    """What an op gives, its parents' results being there."""
    return EVALUATORS[type(op)](op, work)
