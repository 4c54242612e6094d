"""Terminals: interactive programs in containers, on the terminal of whoever started the session."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from layerline.engine.api.fields import field
from layerline.engine.api.objects import Container, Directory, Service, TerminalCommand
from layerline.engine.api.resolvers.container_exec import exec_of
from layerline.engine.api.resolvers.container_image import from_
from layerline.engine.image.config import ImageConfig
from layerline.engine.runtime.terminal import execute_on_terminal, run_on_terminal
from layerline.engine.solve import ops
from layerline.engine.solve.container_stage import ContainerStage
from layerline.engine.solve.solver import parents_of
from layerline.engine.solve.step_context import StepContext
from layerline.errors import QueryError

if TYPE_CHECKING:
    from layerline.engine.api.session import Call
    from layerline.engine.runtime.service import Service as RunningService

_DEFAULT = TerminalCommand(args=("sh",))
_IMAGE = "debian:bookworm-slim"
_PLACE = "/src"


@field("Container", "withDefaultTerminalCmd")
def with_default_terminal_cmd(
    self: Container,
    call: Call,
    *,
    args: list[str],
    experimental_privileged_nesting: bool = False,
    insecure_root_capabilities: bool = False,
) -> Container:
    """Set the program that a terminal runs."""
    command = TerminalCommand(
        args=tuple(args),
        privileged=insecure_root_capabilities,
        nesting=experimental_privileged_nesting,
        guest=not call.client.reaches_host,
    )
    return replace(self, terminal_command=command)


@field("Container", "terminal")
async def container_terminal(
    self: Container,
    call: Call,
    *,
    cmd: list[str] | None = None,
    experimental_privileged_nesting: bool = False,
    insecure_root_capabilities: bool = False,
) -> Container:
    """Run a program on the user's terminal; what it changes is dropped."""
    default = self.terminal_command or _DEFAULT
    op = exec_of(
        self,
        tuple(cmd or default.args),
        privileged=insecure_root_capabilities or default.privileged,
        nesting=experimental_privileged_nesting or default.nesting,
        guest=default.guest or not call.client.reaches_host,
    )
    await _interact(call, op)
    return self


@field(
    "Directory",
    "terminal",
    differs=f"opens in {_IMAGE} by default, not in Alpine",
)
async def directory_terminal(
    self: Directory,
    call: Call,
    *,
    container: Container | None = None,
    cmd: list[str] | None = None,
    experimental_privileged_nesting: bool = False,
    insecure_root_capabilities: bool = False,
) -> Directory:
    """A terminal in a container that has the directory at /src; what it changes is dropped."""
    base = container or await from_(Container(config=ImageConfig()), call, address=_IMAGE)
    mount = ops.DirectoryMount(target=_PLACE, source=self.tree, path=self.path)
    kept = tuple(each for each in base.mounts if each.target != _PLACE)
    await container_terminal(
        replace(base, mounts=(*kept, mount), config=replace(base.config, workdir=_PLACE)),
        call,
        cmd=cmd,
        experimental_privileged_nesting=experimental_privileged_nesting,
        insecure_root_capabilities=insecure_root_capabilities,
    )
    return self


@field("Service", "terminal")
async def service_terminal(self: Service, call: Call, *, cmd: list[str] | None = None) -> Service:
    """A terminal in the container of a service, which is started if necessary."""
    session = call.session
    service = await session.services.start(self.spec)
    await session.solver.in_thread(_join, call, service, cmd or list(_DEFAULT.args))
    return self


def _join(call: Call, service: RunningService, args: list[str]) -> None:
    container = service.container
    if container is None:
        message = f"{service.spec.hostname} is not a container: it has no terminal"
        raise QueryError(message)
    with call.session.solver.context.terminal.borrow() as terminal:
        execute_on_terminal(container, args, terminal)


async def _interact(call: Call, op: ops.Exec) -> None:
    solver = call.session.solver
    parents = parents_of(op)
    inputs = dict(zip([p.key for p in parents], await solver.results(parents), strict=True))
    await solver.services.prepare(op)
    context = solver.context
    progress = call.session.journal.step(f"terminal {' '.join(op.argv)}")
    step = StepContext(
        context=context,
        services=solver.services,
        key=op.key,
        inputs=inputs,
        progress=progress,
        cancel=threading.Event(),
    )

    def interact() -> None:
        with contextlib.ExitStack() as stack:
            container = ContainerStage(op=op, step=step, stack=stack).container()
            joined = stack.enter_context(solver.services.join(op, container, step.cancel))
            terminal = stack.enter_context(context.terminal.borrow())
            run_on_terminal(context.runtime(), joined.container, terminal)

    with progress:
        await solver.in_thread(interact)
