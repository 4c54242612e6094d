"""Execs: lazy until something asks for their outputs or files."""

from __future__ import annotations

import codecs
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from layerline.engine.api.container_paths import expand_variables
from layerline.engine.api.fields import field
from layerline.engine.runtime.cdi import ALL
from layerline.engine.runtime.cdi_files import edits_for
from layerline.engine.solve import ops
from layerline.engine.store.digest import Digest
from layerline.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from layerline.engine.api.objects import Container
    from layerline.engine.api.session import Call
    from layerline.engine.solve.result import Result, Text
    from layerline.engine.store.store import Store

_PIECE = 1 << 20
_NO_COMMAND = "no command has been set"
_BY_CDI = "by the Container Device Interface, as root"


@field("Container", "withExec")
def with_exec(self: Container, call: Call, **arguments: Any) -> Container | Awaitable[Container]:
    """Run a command; the files after it are the new root file system."""
    made = run_command(self, call, **arguments)
    return _once_gpus_are_found(call, made) if self.gpus else made


def run_command(
    self: Container,
    call: Call,
    *,
    args: list[str],
    use_entrypoint: bool = False,
    stdin: str = "",
    redirect_stdin: str = "",
    redirect_stdout: str = "",
    redirect_stderr: str = "",
    expect: str = "SUCCESS",
    experimental_privileged_nesting: bool = False,
    insecure_root_capabilities: bool = False,
    expand: bool = False,
    no_init: bool = False,
) -> Container:
    """The container after a command."""
    if stdin and redirect_stdin:
        message = "cannot set both stdin and redirectStdin"
        raise QueryError(message)
    argv = command_of(self, args, use_entrypoint=use_entrypoint, expand=expand)
    exec_op = exec_of(
        self,
        argv,
        privileged=insecure_root_capabilities,
        nesting=experimental_privileged_nesting,
        init=not no_init,
        guest=not call.client.reaches_host,
    )
    exec_op = replace(
        exec_op,
        stdin=stdin or None,
        redirect_stdin=expand_variables(self, redirect_stdin, expand=expand) or None,
        redirect_stdout=expand_variables(self, redirect_stdout, expand=expand) or None,
        redirect_stderr=expand_variables(self, redirect_stderr, expand=expand) or None,
        expect=expect,
    )
    return after(self, exec_op)


async def _once_gpus_are_found(call: Call, container: Container) -> Container:
    """The container; without the GPUs it fails here, before what leads to the exec is run."""
    solver, environ = call.session.solver, call.session.settings.environ
    await solver.in_thread(edits_for, container.gpus, environ)
    return container


@field("Container", "experimentalWithGPU", differs=_BY_CDI)
def with_gpu(self: Container, _call: Call, *, devices: list[str]) -> Container:
    """Give execs and services GPUs, by their names."""
    return replace(self, gpus=tuple(devices))


@field("Container", "experimentalWithAllGPUs", differs=_BY_CDI)
def with_all_gpus(self: Container, _call: Call) -> Container:
    """Give execs and services all GPUs."""
    return replace(self, gpus=(ALL,))


def command_of(
    container: Container, args: list[str], *, use_entrypoint: bool, expand: bool = False
) -> tuple[str, ...]:
    """The argv to run: the args or else the default args, after the entrypoint if asked for."""
    argv = [expand_variables(container, arg, expand=expand) for arg in args] or list(
        container.config.cmd or ()
    )
    if use_entrypoint:
        argv = [*(container.config.entrypoint or ()), *argv]
    if not argv:
        raise QueryError(_NO_COMMAND)
    return tuple(argv)


def exec_of(
    container: Container,
    argv: tuple[str, ...],
    *,
    privileged: bool = False,
    nesting: bool = False,
    init: bool = True,
    guest: bool = False,
) -> ops.Exec:
    """The op that runs a program in a container as it is configured."""
    return ops.Exec(
        rootfs=container.rootfs or ops.Scratch(),
        argv=argv,
        env=container.config.env,
        secret_env=container.secret_env,
        volatile=container.volatile,
        proxies=container.proxies,
        cwd=container.config.workdir,
        user=container.config.user,
        mounts=container.mounts,
        bindings=container.bindings,
        privileged=privileged,
        nesting=nesting,
        init=init,
        guest=guest,
        gpus=container.gpus,
        platform=str(container.config.platform),
    )


def after(container: Container, exec_op: ops.Exec) -> Container:
    """The container as an exec leaves it."""
    mounts = tuple(_mount_after(exec_op, index, m) for index, m in enumerate(container.mounts))
    return replace(
        container,
        rootfs=ops.ExecRootfs(exec=exec_op),
        mounts=mounts,
        last_exec=exec_op,
        image_ref="",
    )


def _mount_after(exec_op: ops.Exec, index: int, mount: ops.Mount) -> ops.Mount:
    if isinstance(mount, ops.DirectoryMount | ops.FileMount) and not mount.readonly:
        return replace(mount, source=ops.ExecMount(exec=exec_op, index=index))
    return mount


async def last_result(container: Container, call: Call) -> Result:
    """What the last exec of a chain gave."""
    if container.last_exec is None:
        raise QueryError(_NO_COMMAND)
    result = await call.session.solver.result(container.last_exec)
    if container.rootfs is not None:
        await call.session.solver.result(container.rootfs)
    return result


async def text_of(call: Call, text: Text) -> str:
    """An output as text; bytes that are not UTF-8 are replaced."""
    if text.blob is None:
        return text.inline
    return await anyio.to_thread.run_sync(_read_text, call.session.store, Digest(text.blob))


def _read_text(store: Store, digest: Digest) -> str:
    """Decode by pieces: a large output is not held as bytes and as text."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    with store.blobs.open(digest) as stream:
        pieces = [decoder.decode(piece) for piece in iter(lambda: stream.read(_PIECE), b"")]
    return "".join((*pieces, decoder.decode(b"", final=True)))


@field("Container", "stdout")
async def stdout(self: Container, call: Call) -> str:
    """What the last exec wrote to stdout."""
    return await text_of(call, (await last_result(self, call)).stdout)


@field("Container", "stderr")
async def stderr(self: Container, call: Call) -> str:
    """What the last exec wrote to stderr."""
    return await text_of(call, (await last_result(self, call)).stderr)


@field("Container", "combinedOutput")
async def combined_output(self: Container, call: Call) -> str:
    """Both outputs of the last exec in the order they were written."""
    return await text_of(call, (await last_result(self, call)).combined)


@field("Container", "exitCode")
async def exit_code(self: Container, call: Call) -> int:
    """The exit code of the last exec."""
    return (await last_result(self, call)).code


@field("Container", "sync")
async def sync(self: Container, call: Call) -> str:
    """Run everything; the id of the container."""
    if self.rootfs is not None:
        await call.session.solver.result(self.rootfs)
    return call.session.identify(self)
