"""A session for a program that uses a Dagger SDK, opened by the program itself.

with layerline.connect():
    async with dagger.connection():
        ...
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

import anyio.from_thread
import anyio.to_thread

from layerline.engine.api.server import serve_session
from layerline.engine.api.session import Session, open_session
from layerline.engine.session_process import session_process
from layerline.log import Journal
from layerline.settings import Settings, override_environ, process_environ

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType


class Connection:
    """A served session, for `with` or `async with`.

    Inside the block the variables of `environ` are set in this process: every Dagger SDK in it, and
    in the programs that it starts, uses the session. Before the block `environ` is empty. The
    engine runs on an event loop in a thread of its own; where this process is not root, in a child
    that is root of a user namespace. At the end of the block services stop and what was recorded
    is durable.
    """

    def __init__(self, *, workdir: str | Path = ".") -> None:
        self.workdir = Path(workdir).absolute()
        self.environ: dict[str, str] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            if os.geteuid() == 0:
                portal = stack.enter_context(anyio.from_thread.start_blocking_portal())
                session = stack.enter_context(portal.wrap_async_context_manager(self._serve()))
                self.environ = session.environ(session.main)
            else:
                self.environ = stack.enter_context(session_process(self.workdir))
            stack.enter_context(override_environ(self.environ))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(None, None, None)

    async def __aenter__(self) -> Self:
        return await anyio.to_thread.run_sync(self.__enter__)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.__exit__, kind, error, traceback)

    @contextlib.asynccontextmanager
    async def _serve(self) -> AsyncIterator[Session]:
        settings = Settings.from_environ(process_environ())
        opened = open_session(settings, Journal(), workdir=self.workdir)
        async with opened as session, serve_session(session):
            yield session


def connect(*, workdir: str | Path = ".") -> Connection:
    """Open a session over the user's store; `workdir` is what relative host paths resolve against.

    Use the result in a `with` or an `async with`. Raises `StoreVersion` or another `StoreError`
    where the store cannot be used, and `PrivilegeMissing` where this process is not root and cannot
    be root of a user namespace.
    """
    return Connection(workdir=workdir)
