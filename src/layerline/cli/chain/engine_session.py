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

from layerline.cli.chain.evaluate import Evaluation
from layerline.engine import task_group
from layerline.engine.api.server import serve_session
from layerline.engine.api.session import Session, open_session
from layerline.engine.module.addresses import resolve
from layerline.engine.module.arguments import Reader
from layerline.engine.module.calls import Caller
from layerline.engine.module.queries import Literal, call_core
from layerline.engine.module.session_arguments import complete_in_session
from layerline.engine.module.types import element_of
from layerline.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from layerline.cli.chain.modules import CallTarget
    from layerline.cli.console import Console
    from layerline.engine.module.definitions import Function, FunctionArg, Json
    from layerline.log import Journal

T = TypeVar("T")


def run_in_session(
    console: Console,
    work: Callable[[Session], Awaitable[T]],
    *,
    interactive: bool = False,
    stay: bool = False,
    interrupts: bool = True,
) -> T:
    """Run `work` in a session that is served, and end the session with it, or with a signal.

    With `interactive` a user at a terminal gets the options' program where an exec failed; with
    `stay` the progress may stay until the user has seen it. Without `interrupts` Ctrl-C is left to
    `work`.
    """
    ends = (signal.SIGINT, signal.SIGTERM) if interrupts else (signal.SIGTERM,)
    with console.working(stay=stay) as journal:
        program = console.interactive if interactive else ()
        return _run_served(console, journal, work, program, ends)


def _run_served(
    console: Console,
    journal: Journal,
    work: Callable[[Session], Awaitable[T]],
    interactive: Sequence[str],
    ends: Sequence[signal.Signals],
) -> T:
    results: list[T] = []

    async def main() -> None:
        async with task_group() as group:
            group.start_soon(_cancel_on_signal, group.cancel_scope, ends)
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


async def _cancel_on_signal(scope: anyio.CancelScope, ends: Sequence[signal.Signals]) -> None:
    with anyio.open_signal_receiver(*ends) as signals:
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
        self.reader.introduce(self.session)
        return name

    async def complete_arguments(
        self, function: Function, given: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Fill in the defaults; addresses and repositories are resolved by the session."""
        assert self.caller is not None
        return await complete_in_session(self.session, self.caller.module.config, function, given)

    async def call_module(
        self, owner: str, function: Function, parent: Json, arguments: dict[str, Any]
    ) -> Json:
        """Call a function of the module."""
        assert self.caller is not None
        if isinstance(parent, str):  # an id: an object of any module, taken for an interface
            return await self.caller.call_interface(parent, function, arguments)
        return await self.caller.call(owner, function, parent, arguments)

    async def call_core(
        self, receiver: str | None, typename: str, function: Function, arguments: dict[str, Any]
    ) -> Json:
        """Call a function of the core."""
        kinds = {arg.name: arg for arg in function.args}
        written = {name: _graphql_value(kinds[name], value) for name, value in arguments.items()}
        return await call_core(self.session, receiver, typename, function, written)


def evaluation_in(session: Session, console: Console, module: CallTarget) -> Evaluation:
    """The evaluation of a module's pipelines in a session."""
    caller = Caller.of(session, module.loaded) if module.loaded else None
    return Evaluation(
        backend=SessionBackend(session=session, caller=caller, reader=Reader(store=session.store)),
        types=module.types,
        workdir=console.workdir,
        home=console.settings.home,
    )


def _graphql_value(arg: FunctionArg, value: Json) -> Json:
    if element_of(arg.type_def).kind != "ENUM_KIND":
        return value
    if isinstance(value, list):
        return [Literal(text=item) for item in value]
    return Literal(text=value)
