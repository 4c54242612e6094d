"""A session over a store of the test's own, in process."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Self

import pytest

from layerline.engine.api.execute import answer
from layerline.engine.api.session import Session, open_session
from layerline.engine.runtime.confined_process import ConfinedProcess
from layerline.engine.runtime.confined_root import ConfinedRoot
from layerline.log import Journal
from layerline.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


class RootedProcess(ConfinedProcess):
    """Stands for a process whose root directory is `place`."""

    place: Path

    @classmethod
    def at(cls, place: Path, *, cwd: str = "/", **environ: str) -> Self:
        """A process that has the variables; programs beside it do not run."""
        process = cls(environ=environ, cwd=cwd)
        process.place = place
        return process

    @contextlib.contextmanager
    def root(self) -> Iterator[ConfinedRoot]:
        with ConfinedRoot(self.place) as root:
            yield root


OpenSession = Callable[[], AbstractAsyncContextManager[Session]]


@pytest.fixture
def open_a_session(tmp_path: Path) -> OpenSession:
    """Open a session whose working directory is `tmp_path`; again and again, on the same store."""

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Session]:
        environ = {
            "HOME": str(tmp_path),
            "LAYERLINE_STORE": str(tmp_path / "store"),
            "TOKEN": "t0ken",
        }
        settings = Settings.from_environ(environ)
        async with open_session(settings, Journal(), workdir=tmp_path) as session:
            yield session

    return opened


async def ask(session: Session, query: str, **variables: Any) -> Any:
    """The data of an answer without errors."""
    got = await answer(query, session.call(), variables=variables)
    assert "errors" not in got.body, got.body
    return got.body["data"]


async def fail(session: Session, query: str) -> dict[str, Any]:
    """The first error of an answer, whose data is null."""
    got = await answer(query, session.call())
    assert got.body["data"] is None
    error: dict[str, Any] = got.body["errors"][0]
    return error
