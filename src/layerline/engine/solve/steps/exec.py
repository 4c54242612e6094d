"""An exec: a container over overlays, and what it left as new snapshots."""

from __future__ import annotations

import contextlib
import os
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from layerline.engine.runtime import spec
from layerline.engine.runtime.terminal import run_on_terminal
from layerline.engine.runtime.traffic import watching
from layerline.engine.solve.container_stage import ContainerStage
from layerline.engine.solve.labels import describe
from layerline.engine.store.rmtree import remove_tree
from layerline.errors import ExecError

if TYPE_CHECKING:
    from layerline.engine.runtime.spec import ExecOutcome, Output
    from layerline.engine.solve import ops
    from layerline.engine.solve.result import Result
    from layerline.engine.solve.step_context import SolveContext, StepContext

_ERROR_BYTES = 100 * 1024
_SIGNALS = range(128, 192)
_SHELL_NOTICE = b"\r\n%s failed. This is the container as it was left; exit to go on.\r\n"


def run(op: ops.Exec, step: StepContext) -> Result:
    """Run the process; its exit code must be one that is expected."""
    with contextlib.ExitStack() as stack:
        stage = ContainerStage(op=op, step=step, stack=stack)
        container = stage.container()
        joined = stack.enter_context(step.services.join(op, container, step.cancel))
        network = joined.container.network
        namespace = None if network is None else network.namespace
        stack.enter_context(watching(namespace, step.progress.report))
        outcome = stack.enter_context(
            step.context.runtime().run(
                joined.container,
                on_output=step.progress.write,
                cancel=step.cancel,
                watch=joined.failure,
            )
        )
        # A program that ignores that the disk is full leaves files that are cut short.
        step.context.store.require_space(f"{describe(op)} failed", container.rootfs.upper)
        if not is_expected(op.expect, outcome.code):
            _open_shell(step.context, joined.container)
            raise failure(op.argv, outcome)
        return stage.result(outcome)


def _open_shell(context: SolveContext, container: spec.ContainerSpec) -> None:
    """Let the user into the container of a process that failed, with all that it left."""
    if not context.interactive or not context.terminal.exists():
        return
    layered = [mount.overlay for mount in container.mounts if isinstance(mount, spec.LayerMount)]
    for overlay in (container.rootfs, *layered):
        if overlay.work is not None:  # a volatile overlay's own refuses a second mount
            remove_tree(overlay.work)
            overlay.work.mkdir()
    shell = replace(
        container,
        argv=context.interactive,
        stdin=None,
        redirect_stdin=None,
        redirect_stdout=None,
        redirect_stderr=None,
    )
    with context.terminal.borrow() as terminal:
        os.write(terminal, _SHELL_NOTICE % shlex.join(container.argv).encode())
        run_on_terminal(context.runtime(), shell, terminal)


def is_expected(expect: str, code: int) -> bool:
    """Whether an exit code is a value; death by signal never is."""
    if code in _SIGNALS:
        return False
    match expect:
        case "ANY":
            return True
        case "FAILURE":
            return code != 0
        case _:
            return code == 0


def failure(argv: tuple[str, ...], outcome: ExecOutcome) -> ExecError:
    """The error of an exec, with the end of its outputs."""
    return ExecError(
        command=argv,
        code=outcome.code,
        stdout=_ending(outcome.stdout),
        stderr=_ending(outcome.stderr),
        message=outcome.status,
    )


def _ending(output: Output) -> str:
    if output.size <= _ERROR_BYTES:
        return output.read().decode(errors="replace").strip()
    note = f"[omitting {output.size - _ERROR_BYTES} bytes]..."
    return note + output.tail(_ERROR_BYTES - len(note)).decode(errors="replace").strip()
