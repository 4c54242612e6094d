"""The engine for one pipeline: a session, its server, and the backend that evaluates in them.

Imported only when the store alone has no answer: it brings the GraphQL executor and the HTTP server
with it.
"""

from __future__ import annotations

import functools
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from layerline.cli.chain.addresses import read_repository, resolve
from layerline.cli.chain.arguments import is_git
from layerline.cli.chain.queries import Literal, call_core
from layerline.engine import task_group
from layerline.engine.api.server import serve_session
from layerline.engine.api.session import Session, open_session
from layerline.engine.module.arguments import GIT, Reader, complete
from layerline.engine.module.types import element_of
from layerline.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from layerline.cli.console import Console
    from layerline.engine.module.calls import Caller
    from layerline.engine.module.definitions import Function, FunctionArg, Json
    from layerline.log import Journal

T = TypeVar("T")


def run_in_session(
    console: Console,
    work: Callable[[Session], Awaitable[T]],
    *,
    interactive: bool = False,
    stay: bool = False,
) -> T:
    """Run `work` in a session that is served, and end the session with it, or with a signal.

    With `interactive` a user at a terminal gets the options' program where an exec failed; with
    `stay` the progress may stay until the user has seen it.
    """
    with console.working(stay=stay) as journal:
        return _run_served(console, journal, work, console.interactive if interactive else ())


def _run_served(
    console: Console,
    journal: Journal,
    work: Callable[[Session], Awaitable[T]],
    interactive: Sequence[str],
) -> T:
    results: list[T] = []

    async def main() -> None:
        async with task_group() as group:
            group.start_soon(_cancel_on_signal, group.cancel_scope)
            opening = open_session(
                console.settings,
                journal,
                workdir=console.workdir,
                interactive=interactive,
                arguments=console.argv,
            )
            async with opening as session, serve_session(session):
                results.append(await work(session))
            group.cancel_scope.cancel()

    anyio.run(main)
    if not results:
        message = "Canceled."
        raise Cancelled(message)
    return results[0]


async def _cancel_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


@dataclass(slots=True, kw_only=True, eq=False)
class SessionBackend:
    """The backend of a session; `caller` is None where no module is loaded."""

    session: Session
    caller: Caller | None
    reader: Reader

    async def resolve_address(self, typename: str, text: str) -> Json:
        """The id of the object at an address."""
        return await resolve(self.session, typename, text)

    async def load_path(self, typename: str, path: Path, ignore: tuple[str, ...]) -> str:
        """Read a file or directory of the host into the store."""
        if typename == "Directory":
            read = functools.partial(self.reader.directory, path, ignore=ignore)
        else:
            read = functools.partial(self.reader.file, path)
        name = await self.session.solver.in_thread(read)
        self._introduce()
        return name

    async def complete_arguments(
        self, function: Function, given: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Fill in the defaults; addresses and repositories are resolved by the session."""
        assert self.caller is not None
        known = dict(given)
        for arg in function.args:
            if arg.name in known:
                continue
            if arg.default_path and arg.type_def.name in GIT:
                known[arg.name] = await self._repository(arg)
            elif arg.default_address:
                known[arg.name] = await resolve(
                    self.session, arg.type_def.name, arg.default_address
                )
        arguments = await self.session.solver.in_thread(
            complete, function, known, self.caller.module.config, self.reader
        )
        self._introduce()
        return arguments

    async def _repository(self, arg: FunctionArg) -> Json:
        """The repository that a contextual path lies in, or what is checked out there."""
        assert self.caller is not None
        if is_git(arg.default_path):
            return await resolve(self.session, arg.type_def.name, arg.default_path)
        path = self.caller.module.config.resolve(arg.default_path)
        root = path.parent if path.name == ".git" else path
        return await read_repository(
            self.session, arg.type_def.name, await self.load_path("Directory", root, ())
        )

    async def call_module(
        self, owner: str, function: Function, parent: Json, arguments: dict[str, Any]
    ) -> Json:
        """Call a function of the module."""
        assert self.caller is not None
        return await self.caller.call(owner, function, parent, arguments)

    async def call_core(
        self, receiver: str | None, typename: str, function: Function, arguments: dict[str, Any]
    ) -> Json:
        """Call a function of the core."""
        kinds = {arg.name: arg for arg in function.args}
        written = {name: _graphql_value(kinds[name], value) for name, value in arguments.items()}
        return await call_core(self.session, receiver, typename, function, written)

    def _introduce(self) -> None:
        """Register the values that were read with the session."""
        for value in self.reader.objects.values():
            self.session.identify(value)


def _graphql_value(arg: FunctionArg, value: Json) -> Json:
    if element_of(arg.type_def).kind != "ENUM_KIND":
        return value
    if isinstance(value, list):
        return [Literal(text=item) for item in value]
    return Literal(text=value)
