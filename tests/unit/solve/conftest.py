"""A store and a solver over it, in a task group of the test's own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from layerline.engine.solve.solver import Solver
from layerline.engine.solve.step_context import SolveContext
from layerline.engine.store.store import Store
from layerline.errors import RuntimeMissing, SecretError
from layerline.log import Event, Journal
from layerline.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.runtime.container import Runtime
    from layerline.engine.solve import ops


@dataclass(kw_only=True)
class SolverSession:
    """A solver, its store, and the events of its steps."""

    solver: Solver
    store: Store
    events: list[Event] = field(default_factory=list)

    async def read(self, op: ops.Op, path: str) -> bytes:
        """The bytes of a file that an op gives."""
        return self.store.tree((await self.solver.result(op)).layers).read(path)

    def completed_steps(self) -> list[str]:
        """The names of the steps that ended well and were not cached."""
        return [e.name for e in self.events if e.status is not None and e.status.value == "DONE"]


OpenSession = Callable[[], AbstractAsyncContextManager[SolverSession]]


def no_runtime() -> Runtime:
    message = "these tests run no container"
    raise RuntimeMissing(message)


def no_secret(identity: str) -> bytes:
    raise SecretError(identity)


@pytest.fixture
def open_session(tmp_path: Path) -> OpenSession:
    """Open a solver; again and again, on the same store."""

    @contextlib.asynccontextmanager
    async def open_solver() -> AsyncIterator[SolverSession]:
        journal = Journal()
        settings = Settings(store=tmp_path / "store", home=tmp_path, config=tmp_path / "none")
        with Store.open(settings.store) as store:
            context = SolveContext(
                store=store,
                settings=settings,
                journal=journal,
                find_runtime=no_runtime,
                secret=no_secret,
            )
            async with Solver.running(context) as solver:
                session = SolverSession(solver=solver, store=store)
                journal.listeners.append(session.events.append)
                yield session

    return open_solver
