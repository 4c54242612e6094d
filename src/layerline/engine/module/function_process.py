"""The process of one function call, as resolvers see it: its call, its files, its answer."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from layerline.engine.api.container_host import read_directory, read_file
from layerline.engine.module.container import WORKDIR
from layerline.engine.runtime.confined_process import ConfinedProcess
from layerline.errors import QueryError

if TYPE_CHECKING:
    from layerline.engine.api.objects import Directory, File
    from layerline.engine.api.session import Client, Session
    from layerline.engine.module.definitions import Error, FunctionCall
    from layerline.engine.module.loading import LoadedModule


@dataclass(slots=True, kw_only=True, eq=False)
class FunctionProcess:
    """One function's process, as resolvers see it: what it was called with, what it answered."""

    module: LoadedModule
    session: Session
    call: FunctionCall | None = None
    _called: anyio.Event = field(default_factory=anyio.Event)
    process: ConfinedProcess = field(
        default_factory=lambda: ConfinedProcess(environ={}, cwd=WORKDIR)
    )
    value: str | None = None
    error: Error | None = None

    def take(self, call: FunctionCall) -> None:
        """The call that the process is for, once."""
        self.call = call
        self._called.set()

    async def awaited_call(self) -> FunctionCall:
        """The call, as soon as it is known."""
        await self._called.wait()
        assert self.call is not None
        return self.call

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
