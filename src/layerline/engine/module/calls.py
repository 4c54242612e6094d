"""Calls of a module's functions: the request to its process, and the answer.

Invariant: of two calls with the same key in one session one process runs; each process has a token
of its own, which is worth nothing after the call.
"""

from __future__ import annotations

import functools
import json
import posixpath
import tempfile
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.lowlevel

from layerline.engine.api.container_host import read_directory, read_file
from layerline.engine.module import process, results
from layerline.engine.module.container import WORKDIR
from layerline.engine.module.definitions import (
    Error,
    Function,
    FunctionCall,
    FunctionCallArgValue,
    Module,
)
from layerline.engine.module.naming import lower_camel, type_name
from layerline.engine.runtime.confined_process import ConfinedProcess
from layerline.engine.solve.task_groups import task_group
from layerline.errors import ExecError, FunctionFailed, LayerlineError, ModuleError, QueryError
from layerline.log import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerline.engine.api.objects import Directory, File
    from layerline.engine.api.session import Client, Session
    from layerline.engine.module.definitions import Json
    from layerline.engine.module.loading import LoadedModule
    from layerline.engine.module.process import ProcessResult, Program
    from layerline.engine.runtime.spec import ContainerSpec
    from layerline.log import Step


T = TypeVar("T")

_REMARKED = "InvalidResultError: unknown error ("


@dataclass(slots=True, kw_only=True, eq=False)
class FunctionProcess:
    """One function's process, as resolvers see it: what it was called with, what it answered."""

    module: LoadedModule
    call: FunctionCall
    session: Session
    process: ConfinedProcess = field(
        default_factory=lambda: ConfinedProcess(environ={}, cwd=WORKDIR)
    )
    value: str | None = None
    error: Error | None = None

    def answer(self, value: str) -> None:
        """The function's result, once."""
        self._once()
        self.value = value

    def fail(self, error: Error) -> None:
        """The function's error, once."""
        self._once()
        self.error = error

    async def workdir_directory(
        self, path: str, *, include: list[str], exclude: list[str], gitignore: bool
    ) -> Directory:
        """A directory that the function wrote, as it is now."""

        def read_tree() -> Directory:
            return read_directory(
                self.session.store,
                self.process,
                _below_workdir(path),
                include=include,
                exclude=exclude,
                gitignore=gitignore,
            )

        return await self.session.solver.in_thread(read_tree)

    async def workdir_file(self, path: str) -> File:
        """A file that the function wrote, as it is now."""
        return await self.session.solver.in_thread(
            read_file, self.session.store, self.process, _below_workdir(path)
        )

    def _once(self) -> None:
        if self.value is not None or self.error is not None:
            message = "function call return already set"
            raise QueryError(message)


def _below_workdir(path: str) -> str:
    relative = posixpath.normpath(path.lstrip("/") or ".")
    if relative == ".." or relative.startswith("../"):
        message = f"workdir path {path!r} escapes the function's working directory"
        raise QueryError(message)
    return posixpath.join(WORKDIR, relative)


def function_process_of(client: Client) -> FunctionProcess | None:
    """The function call whose process a client is; None for the main client."""
    return client.function if isinstance(client.function, FunctionProcess) else None


@dataclass(slots=True, kw_only=True, eq=False)
class Caller:
    """Calls the functions of one module in one session."""

    session: Session
    module: LoadedModule
    _program: list[Program] = field(default_factory=list)

    async def define(self) -> Module:
        """The module's definition, from its process if the store does not have it."""
        store = self.session.store
        known = self.module.definition(store)
        if known is not None:
            return known
        with self.session.journal.step("load type definitions") as step:
            text = await self._run_process(FunctionCall(), "", step)
            defined: Module = self.session.load(json.loads(text), "Module")
            self.module.remember(store, defined)
        return defined

    async def call(
        self, owner: str, function: Function, parent: Json, arguments: dict[str, Any]
    ) -> Json:
        """The JSON value that a function returns; objects in it are ids."""
        key = results.key_of(self.module.digest, owner, function.name, parent, arguments)
        seconds = results.lifetime(function, caching=self.module.config.caching)
        if seconds is None:
            return await self._call_process(owner, function, parent, arguments)

        async def make() -> Json:
            known = results.recall(self.session.store.index, key) if seconds > 0 else None
            if known is not None:
                name = call_name(self.module.name, owner, function)
                self.session.journal.step(name).end(Status.CACHED)
                for value in known.objects.values():
                    self.session.identify(value)
                return known.value
            value = await self._call_process(owner, function, parent, arguments)
            if seconds > 0:
                results.remember(
                    self.session.store.index, key, value, seconds=seconds, load=self.session.load
                )
            return value

        return await self.session.once(f"call {key}", make)

    async def _call_process(
        self, owner: str, function: Function, parent: Json, arguments: dict[str, Any]
    ) -> Json:
        call = FunctionCall(
            name=function.name,
            parent_name=owner,
            parent=json.dumps(parent),
            input_args=tuple(
                FunctionCallArgValue(name=name, value=json.dumps(value))
                for name, value in arguments.items()
            ),
        )
        with self.session.journal.step(call_name(self.module.name, owner, function)) as step:
            return json.loads(await self._run_process(call, function.name, step))

    async def _run_process(self, call: FunctionCall, name: str, step: Step) -> str:
        """Run the entry point for a call; the JSON text of its answer."""
        session = self.session
        await self.prepare()
        with tempfile.TemporaryDirectory(dir=session.store.scratch, prefix="call-") as root:
            running = FunctionProcess(module=self.module, call=call, session=session)
            client = session.admit(
                namespace=f"mod({self.module.name})", process=running.process, function=running
            )
            try:
                ended = await self._process(Path(root), running, client, step)
            finally:
                session.dismiss(client)
        return _outcome(running, ended, name, client.failure)

    async def prepare(self) -> None:
        """Create the module's environment unless it exists."""
        session = self.session
        if self._program:
            return
        cancel = threading.Event()

        def run(described: ContainerSpec) -> ProcessResult:
            with session.services.attach(described) as container:
                return process.run_program(
                    container,
                    session.solver.context.runtime(),
                    on_output=lambda _data, _stream: None,
                    cancel=cancel,
                )

        make = functools.partial(
            self.module.program, session.store, session.settings, session.journal, run=run
        )
        self._program.append(await self._in_thread(make, cancel))

    async def _in_thread(self, work: Callable[[], T], cancel: threading.Event) -> T:
        """Do blocking work that ends when `cancel` is set, as it is when the call is cancelled."""
        ended: list[T] = []
        async with task_group() as group:
            group.start_soon(_set_when_cancelled, cancel)
            ended.append(await self.session.solver.in_thread(work))
            group.cancel_scope.cancel()
        await anyio.lowlevel.checkpoint()  # a cancelled call has no answer
        return ended[0]

    async def _process(
        self, place: Path, running: FunctionProcess, client: Client, step: Step
    ) -> ProcessResult:
        program, session = self._program[0], self.session
        environ = process.variables(
            program, module=self.module.name, session=session.environ(client)
        )
        running.process.environ = environ
        cancel = threading.Event()

        def work() -> ProcessResult:
            described = replace(
                process.container(program, place, environ, session.settings),
                loopback=(session.port,),
                process=running.process,
            )
            with session.services.attach(described) as container:
                return process.run_program(
                    container,
                    session.solver.context.runtime(),
                    on_output=lambda data, _stream: step.write(data),
                    cancel=cancel,
                )

        return await self._in_thread(work, cancel)


async def _set_when_cancelled(event: threading.Event) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        event.set()


def call_name(module: str, owner: str, function: Function) -> str:
    """A call's name in the progress: `Sample.text`, and `sample` for the constructor."""
    if not function.name:
        return lower_camel(module)
    return f"{type_name(module, owner)}.{lower_camel(function.name)}"


def _outcome(
    running: FunctionProcess, ended: ProcessResult, name: str, known: LayerlineError | None
) -> str:
    if running.error is not None:
        raise _failure(running.error, known)
    if running.value is not None:
        return running.value
    if not name:
        message = (
            f"module {running.module.name!r} cannot be loaded "
            f"(its process ended with status {ended.status}):\n{ended.output.strip()}"
        )
        raise ModuleError(message)
    if ended.status == 0:
        message = f'function "{name}" completed without returning a value'
        raise FunctionFailed(message)
    message = f'call function "{name}": exit code: {ended.status}'
    raise FunctionFailed(message, exit_code=ended.status)


def _failure(error: Error, known: LayerlineError | None) -> LayerlineError:
    """The exception for a returned error; an exec that failed inside keeps code and outputs.

    `known` is the engine's own failure. The SDK passes it on as it is, or, when it shows only in
    what the function returned, with a misleading remark on the type of that.
    """
    if known is not None and error.message.startswith((str(known), _REMARKED + str(known))):
        return known
    values = {item.name: json.loads(item.value) for item in error.values}
    if values.get("_type") != ExecError.wire_type:
        return FunctionFailed(error.message, values=values)
    return ExecError(
        command=tuple(values.get("cmd") or ()),
        code=int(values.get("exitCode") or 1),
        stdout=str(values.get("stdout") or ""),
        stderr=str(values.get("stderr") or ""),
        message=error.message,
    )
