"""Evaluation of ops: each key once, whoever asks; independent ops in parallel.

A failure is not remembered. This is the only crossing between the async API and the blocking parts
below it. A flight is the evaluation of one key; those who wait for it share it, and when the last
of them gives up its process is killed before the wait ends.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self, TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import checkpoint_if_cancelled

from layerline import log
from layerline.engine.runtime.cgroups import sweep_dead_sessions
from layerline.engine.solve import ops
from layerline.engine.solve.container_stage import adopt
from layerline.engine.solve.contents import Contents
from layerline.engine.solve.identities import identity_of_step, identity_of_view
from layerline.engine.solve.keys import children
from layerline.engine.solve.labels import describe
from layerline.engine.solve.ops import Op
from layerline.engine.solve.result import Result
from layerline.engine.solve.services import SessionServices
from layerline.engine.solve.sharing import Sharing
from layerline.engine.solve.step_context import SolveContext, StepContext
from layerline.engine.solve.steps import VIEWS, evaluate, view
from layerline.engine.store.cancellation import cancelled_by
from layerline.engine.store.dependents import INPUTS, MADE
from layerline.engine.store.disk_errors import disk_errors
from layerline.errors import Cancelled, LayerlineError, NotFetched
from layerline.log import Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from anyio.abc import TaskGroup

    from layerline.engine.solve.keys import Keyed
    from layerline.engine.store.tree import Tree

T = TypeVar("T")

_THREADS = 256
_AT_ONCE = 32


@dataclass(slots=True, eq=False)
class _Flight:
    """One evaluation under way."""

    done: anyio.Event = field(default_factory=anyio.Event)
    cancel: threading.Event = field(default_factory=threading.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    waiting: int = 0
    result: Result | None = None
    error: Exception | None = None


@dataclass(slots=True, eq=False, kw_only=True)
class Solver:
    """The evaluation of ops for one session."""

    context: SolveContext
    group: TaskGroup
    results_by_key: dict[str, Result] = field(default_factory=dict)
    listeners: list[Callable[[Op, Result], None]] = field(default_factory=list)
    services: SessionServices = field(init=False)
    contents: Contents = field(init=False)
    sharing: Sharing = field(init=False)
    _flights: dict[str, _Flight] = field(default_factory=dict)
    _threads: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(_THREADS))
    _slots: anyio.Semaphore = field(default_factory=lambda: anyio.Semaphore(_AT_ONCE))

    def __post_init__(self) -> None:
        """Services are started with the files that this solver evaluates."""
        self.services = SessionServices(
            context=self.context, evaluate=self.results, in_thread=self.in_thread
        )
        self.contents = Contents(store=self.context.store, results=self.results_by_key)
        self.sharing = Sharing(context=self.context)

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, context: SolveContext) -> AsyncIterator[Self]:
        """A solver whose evaluations end with the block.

        What they recorded is durable afterwards.
        """
        async with anyio.create_task_group() as group:
            solver = cls(context=context, group=group)
            await solver.in_thread(sweep_dead_sessions)
            try:
                yield solver
            finally:
                for flight in solver._flights.values():
                    flight.cancel.set()
                group.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await solver.in_thread(solver.services.close)
                    await solver.in_thread(context.store.settle)

    async def in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        """Run blocking work in a thread.

        It is finished when this returns, cancelled or not; loops over data end soon after they are
        cancelled.
        """
        cancel = threading.Event()
        run = functools.partial(_run_until, cancel, function, *arguments)
        results: list[T] = []
        failures: list[Exception] = []
        async with anyio.create_task_group() as group:
            group.start_soon(_set_at_end, cancel)
            try:
                with disk_errors("the call failed", self.context.store.root):
                    results.append(await anyio.to_thread.run_sync(run, limiter=self._threads))
            except Exception as exc:  # noqa: BLE001  raised below, and not by the group
                failures.append(exc)
            group.cancel_scope.cancel()
        await checkpoint_if_cancelled()
        if failures:
            raise failures[0]
        return results[0]

    async def result(self, op: Op) -> Result:
        """What an op gives, from memory, from the store, or by evaluating it."""
        if (result := self.results_by_key.get(op.key)) is not None:
            return result
        flight = self._flights.get(op.key)
        if flight is None:
            flight = self._flights[op.key] = _Flight()
            self.group.start_soon(self._fly, op, flight)
        flight.waiting += 1
        try:
            await flight.done.wait()
        finally:
            flight.waiting -= 1
            if flight.waiting == 0 and not flight.done.is_set():
                await self._abandon(op, flight)
        if flight.error is not None:
            raise flight.error
        assert flight.result is not None
        return flight.result

    async def content(self, op: Op, path: str) -> str | None:
        """What a file or directory is known by; None if a process has to run to make it."""
        if self.contents.has(ops.Exec, op):
            return None
        await self.result(op)
        return await self.in_thread(self.contents.content, op, path)

    async def results(self, wanted: list[Op]) -> list[Result]:
        """What several ops give, evaluated in parallel; the first failure ends the others."""
        found: list[Result | None] = [None] * len(wanted)
        errors: list[Exception] = []

        async def one(index: int) -> None:
            try:
                found[index] = await self.result(wanted[index])
            except LayerlineError as exc:
                errors.append(exc)
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for index in range(len(wanted)):
                group.start_soon(one, index)
        if errors:
            raise errors[0]
        return [result for result in found if result is not None]

    async def _abandon(self, op: Op, flight: _Flight) -> None:
        """Nobody wants it any more: end its process, and only then return."""
        self._flights.pop(op.key, None)
        flight.cancel.set()
        flight.scope.cancel()
        with anyio.CancelScope(shield=True):
            await flight.done.wait()

    async def _fly(self, op: Op, flight: _Flight) -> None:
        try:
            with flight.scope:
                flight.result = await self._evaluate(op, flight)
                self.results_by_key[op.key] = flight.result
                for listener in self.listeners:
                    listener(op, flight.result)
        except Exception as exc:  # noqa: BLE001  those who wait raise it
            flight.error = exc
        finally:
            if flight.result is None and flight.error is None:
                flight.error = Cancelled("the step was cancelled")
            if self._flights.get(op.key) is flight:
                del self._flights[op.key]
            flight.done.set()

    async def tree(self, op: Op, file: str = "") -> Tree:
        """The files of an op, all of them in the store, or of those the one at a path."""

        async def look() -> Tree:
            layers = (await self.result(op)).layers
            if all(map(self.context.store.snapshots.is_here, layers)):
                return self.context.store.tree(layers)
            return await self.in_thread(self.context.store.tree, layers, file)

        return await self.until_fetched(look)

    async def until_fetched(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try again while files that another machine has made turn out to be gone.

        What is gone is made here the next time, so this ends.
        """
        while True:
            try:
                return await attempt()
            except NotFetched as exc:
                log.debug("built again: %s", exc)
                self._forget_lost()

    def _forget_lost(self) -> None:
        has = self.context.store.snapshots.has
        for key, result in list(self.results_by_key.items()):
            if not all(map(has, result.snapshots())):
                del self.results_by_key[key]

    async def _evaluate(self, op: Op, flight: _Flight) -> Result:
        async def attempt() -> Result:
            return await self._evaluate_once(op, flight)

        return await self.until_fetched(attempt)

    async def _evaluate_once(self, op: Op, flight: _Flight) -> Result:
        if isinstance(op, ops.ExecMount):
            return await self._mount(op)
        if not isinstance(op, VIEWS) and (known := await self._known_result(op)) is not None:
            self._report_cached(op)
            return known
        await self.services.prepare(op)
        parents = parents_of(op)
        inputs = dict(zip([p.key for p in parents], await self.results(parents), strict=True))
        if isinstance(op, VIEWS):
            return replace(view(op, inputs), identity=identity_of_view(op, inputs))
        async with self._slots:
            return await self.in_thread(self._make, op, inputs, flight.cancel)

    async def _mount(self, op: ops.ExecMount) -> Result:
        """A mount after an exec; what another machine wrote to it is over the files of this one."""
        result = await self.result(op.exec)
        layers = result.mounts[op.index]
        mount = op.exec.mounts[op.index]
        if result.written is not None and isinstance(mount, ops.DirectoryMount | ops.FileMount):
            source = await self.result(mount.source)
            flat = self.context.flat
            layers = (
                (*await self.in_thread(flat, source.layers), *layers) if layers else source.layers
            )
        return Result(layers=layers, identity=identity_of_view(op, {}))

    async def _known_result(self, op: Op) -> Result | None:
        """The result that the store has, or another machine."""
        known = self._stored_result(op.key)
        if self.context.shared is None:
            return known
        if known is not None:
            self.sharing.offer(op, [op.key], known, replaces=False)
            return known
        found = await self.in_thread(self.sharing.find, op, op.key)
        return self._stored_result(op.key) if found else None

    def _find_same(self, op: Op, identity: str) -> Result | None:
        """A result of the same identity, here or on another machine."""
        known = self._stored_result(identity)
        if known is None and self.sharing.find(op, identity):
            return self._stored_result(identity)
        return known

    def _stored_result(self, key: str) -> Result | None:
        row = self.context.store.index.get("result", key)
        if row is None:
            return None
        result = Result.from_document(row)
        if all(self.context.store.snapshots.has(name) for name in result.snapshots()):
            return result if result.identity else replace(result, identity=key)
        return None

    def _report_cached(self, op: Op) -> None:
        self.context.journal.step(describe(op)).end(Status.CACHED)

    def _make(self, op: Op, inputs: dict[str, Result], cancel: threading.Event) -> Result:
        """Take the result of the same identity, or evaluate."""
        with cancelled_by(cancel), self.context.walk():
            identity = identity_of_step(op, inputs, self.contents)
        if identity != op.key:
            with self.context.store.locks.exclusive(f"key {identity}", cancel=cancel):
                known = self._find_same(op, identity)
                if known is None:
                    known = self._wait_lease(op, identity, inputs, cancel)
                if known is None:
                    return self._run(identity, op, inputs, cancel)
                if (result := adopt(op, known, inputs, self.context)) is not None:
                    self._record(op, [op.key], result, inputs=[*inputs_of(op), identity], made=[])
                    self._report_cached(op)
                    return result
        # Other processes wait here for this result.
        with self.context.store.locks.exclusive(f"key {op.key}", cancel=cancel):
            known = self._stored_result(op.key)
            if known is None and identity == op.key:
                known = self._wait_lease(op, op.key, inputs, cancel)
            return known or self._run(op.key, op, inputs, cancel)

    def _wait_lease(
        self, op: Op, identity: str, inputs: dict[str, Result], cancel: threading.Event
    ) -> Result | None:
        """The result of another machine that builds it; None if it is to be built here."""
        found = self.sharing.wait_lease(op, identity, inputs, cancel)
        return self._stored_result(identity) if found else None

    def _run(
        self, identity: str, op: Op, inputs: dict[str, Result], cancel: threading.Event
    ) -> Result:
        progress = self.context.journal.step(describe(op))
        step = StepContext(
            context=self.context,
            services=self.services,
            key=identity,
            inputs=inputs,
            progress=progress,
            cancel=cancel,
        )
        try:
            failed = disk_errors(f"{describe(op)} failed", self.context.store.root)
            turn = contextlib.nullcontext() if isinstance(op, ops.Exec) else self.context.walk()
            with cancelled_by(cancel), failed, turn:
                result = replace(evaluate(op, step), identity=identity)
            given = set[str]().union(*(each.snapshots() for each in inputs.values()))
            made = sorted(result.snapshots() - given)
            keys = list(dict.fromkeys((identity, op.key)))
            self._record(op, keys, result, inputs=inputs_of(op), made=made)
        except LayerlineError as exc:
            status = Status.CANCELED if isinstance(exc, Cancelled) else Status.ERROR
            progress.end(status, str(exc))
            raise
        finally:
            self.sharing.end_lease(identity)
        progress.end()
        return result

    def _record(
        self, op: Op, keys: list[str], result: Result, *, inputs: list[str], made: list[str]
    ) -> None:
        row = {**result.document(), INPUTS: inputs, MADE: made}
        for key in keys:
            self.context.store.index.put("result", key, row, snapshots=sorted(result.snapshots()))
        self.sharing.recognise(op, result)
        self.sharing.offer(op, keys, result, replaces=True)


def _run_until(cancel: threading.Event, function: Callable[..., T], *arguments: object) -> T:
    with cancelled_by(cancel):
        return function(*arguments)


async def _set_at_end(event: threading.Event) -> None:
    """Set an event when this task is cancelled."""
    try:
        await anyio.sleep_forever()
    finally:
        event.set()


def inputs_of(op: Op) -> list[str]:
    """The keys of the stored results that an op is computed from, sorted."""
    found: set[str] = set()
    pending = parents_of(op)
    while pending:
        parent = pending.pop()
        if isinstance(parent, VIEWS):
            pending += parents_of(parent)
        else:
            found.add(parent.key)
    return sorted(found)


def parents_of(op: Keyed) -> list[Op]:
    """The ops that must be evaluated before this one, without services: they are started."""
    return list({child.key: child for child in children(op) if isinstance(child, Op)}.values())
