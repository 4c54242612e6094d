"""One process of a module, from its start to its end; it may start before its call is known.

Invariant: a process gets one call. One that was started ahead and gets none ends with the session.
"""

from __future__ import annotations

import json
import tempfile
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.lowlevel

from layerline.engine.api.spans import ClientSpans
from layerline.engine.module import process
from layerline.engine.module.client_code import client_code
from layerline.engine.module.function_process import FunctionProcess
from layerline.engine.solve.task_groups import task_group
from layerline.errors import Cancelled, ExecError, FunctionFailed, LayerlineError, ModuleError

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerline.engine.api.session import Client, Session
    from layerline.engine.module.client_schema import ClientSchema
    from layerline.engine.module.definitions import Error, FunctionCall
    from layerline.engine.module.loading import LoadedModule
    from layerline.engine.module.process import ProcessResult, Program
    from layerline.engine.runtime.spec import ContainerSpec
    from layerline.log import Step

T = TypeVar("T")

_REMARKED = "InvalidResultError: unknown error ("


@dataclass(slots=True, kw_only=True, eq=False)
class CallProcess:
    """A process with a client of its own; what it prints belongs to the step of its call."""

    session: Session
    program: Program
    running: FunctionProcess
    client: Client
    bindings: str
    _step: Step | None = None
    _early: list[bytes] = field(default_factory=list)
    _output: threading.Lock = field(default_factory=threading.Lock)
    _scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _ended: anyio.Event = field(default_factory=anyio.Event)
    _result: ProcessResult | None = None
    _failure: Exception | None = None

    @classmethod
    def create(
        cls,
        session: Session,
        module: LoadedModule,
        program: Program,
        schema: ClientSchema | None,
        *,
        shows_spans: bool,
    ) -> CallProcess:
        """A process that has not started; its client is served `schema`, or the core alone."""
        running = FunctionProcess(module=module, session=session)
        client = session.admit(
            namespace=module.namespace,
            process=running.process,
            function=running,
            schema=schema.served if schema else None,
        )
        if shows_spans:
            client.spans = ClientSpans(journal=session.journal, call=None)
        return cls(
            session=session,
            program=program,
            running=running,
            client=client,
            bindings=client_code(schema) if schema else "",
        )

    def take(self, call: FunctionCall, step: Step) -> None:
        """Give the process its call, which it waits for when it has been started ahead."""
        if self.client.spans is not None:
            self.client.spans.call = step.number
        with self._output:
            for data in self._early:
                step.write(data)
            self._step = step
        self.running.take(call)

    async def run(self) -> None:
        """Run the process to its end."""
        try:
            scratch = self.session.store.scratch
            with tempfile.TemporaryDirectory(dir=scratch, prefix="call-") as root:
                self._result = await self._run(Path(root))
        finally:
            self.session.dismiss(self.client)

    async def run_ahead(self) -> None:
        """Run the process in a task that is not its call's; `end` raises what fails."""
        try:
            with self._scope:
                await self.run()
        except Exception as exc:  # noqa: BLE001 - raised where the call waits for it
            self._failure = exc
        finally:
            self._ended.set()

    async def end(self) -> None:
        """Wait until a process that runs ahead has ended; a cancelled call ends it."""
        try:
            await self._ended.wait()
        except BaseException:
            self._scope.cancel()
            with anyio.CancelScope(shield=True):
                await self._ended.wait()
            raise
        if self._failure is not None:
            raise self._failure

    def outcome(self, name: str) -> str:
        """The JSON text that the process has answered, for a function of a name."""
        if self._result is None:
            message = "Canceled."
            raise Cancelled(message)
        return _outcome(self.running, self._result, name, self.client.failure)

    async def _run(self, place: Path) -> ProcessResult:
        session, program, running = self.session, self.program, self.running
        environ = process.variables(
            program, module=running.module.name, session=session.environ(self.client)
        )
        running.process.environ = environ
        cancel = threading.Event()

        def work() -> ProcessResult:
            described = replace(
                process.container(
                    program, place, environ, session.settings, bindings=self.bindings
                ),
                served=((session.port, session.serve),),
                process=running.process,
            )
            return run_container(session, described, on_output=self._write, cancel=cancel)

        return await in_thread(session, work, cancel)

    def _write(self, data: bytes, _stream: int) -> None:
        with self._output:
            if self._step is None:
                self._early.append(data)
            else:
                self._step.write(data)


def run_container(
    session: Session,
    described: ContainerSpec,
    *,
    on_output: Callable[[bytes, int], None],
    cancel: threading.Event,
) -> ProcessResult:
    """Run a container of a module to its end."""
    runtime = session.solver.context.runtime()
    with session.services.attach(described) as container:
        return process.run_program(container, runtime, on_output=on_output, cancel=cancel)


async def in_thread(session: Session, work: Callable[[], T], cancel: threading.Event) -> T:
    """Do blocking work that ends when `cancel` is set, as it is when the task is cancelled."""
    ended: list[T] = []
    async with task_group() as group:
        group.start_soon(_set_when_cancelled, cancel)
        ended.append(await session.solver.in_thread(work))
        group.cancel_scope.cancel()
    await anyio.lowlevel.checkpoint()  # a cancelled call has no answer
    return ended[0]


async def _set_when_cancelled(event: threading.Event) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        event.set()


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
