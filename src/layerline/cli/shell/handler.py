"""Commands of scripts as functions: of the loaded module, its dependencies, the API, any module.

After https://github.com/dagger/dagger/blob/v0.21.8/cmd/dagger/shell_exec.go.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from layerline.cli.chain.arguments import is_required
from layerline.cli.chain.parser import constructor_of
from layerline.cli.shell.binding import Binder
from layerline.cli.shell.builtin_utilities import NAMES, run_utility
from layerline.cli.shell.commands import Invocation, find_command, run_command
from layerline.cli.shell.modules import CORE, find_by_name
from layerline.cli.shell.prefixed_errors import prefixed
from layerline.cli.shell.scope import Status
from layerline.cli.shell.states import State, has_token
from layerline.engine.module.naming import kebab
from layerline.errors import LayerlineError, ModuleError
from layerline.suggestion import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.cli.chain.modules import CallTarget
    from layerline.cli.shell.evaluator import Evaluator
    from layerline.cli.shell.interpreter import Interpreter
    from layerline.cli.shell.modules import Modules
    from layerline.cli.shell.places import Place
    from layerline.cli.shell.scope import Scope, Streams
    from layerline.engine.module.loading import LoadedDependency
    from layerline.engine.module.types import Member

_RESERVED = "__dag"
_PREFIX = "_"
# Builtin commands that are utilities of the shell.
_EXPOSED = frozenset({".echo", ".exit"})


@dataclass(frozen=True, slots=True)
class Found:
    """What a command names: a function with the state that it is called on.

    Of a module that was named by a path, `label` is how an error speaks of its constructor.
    """

    state: State
    member: Member
    label: str


@dataclass(slots=True, kw_only=True, eq=False)
class Handler:
    """Executes the commands of one shell; `place` is where it stands."""

    evaluator: Evaluator
    modules: Modules
    place: Place
    first: Place = field(init=False)
    previous: Place = field(init=False)
    interpreter: Interpreter = field(init=False)

    def __post_init__(self) -> None:
        """Remember where the shell began."""
        self.first = self.previous = self.place

    @property
    def binder(self) -> Binder:
        """What reads arguments at the place."""
        return Binder(evaluator=self.evaluator, path=self.place.address)

    async def execute(self, argv: list[str], scope: Scope, streams: Streams) -> Status:
        """Run a command; what it failed with is handed on to the next one in the pipeline."""
        try:
            argv = await self._prepared(argv)
            if argv[0].startswith(_PREFIX) and argv[0][1:] in NAMES:
                arguments = [await self.evaluator.resolve(text) for text in argv[1:]]
                return await run_utility(
                    self.interpreter, [argv[0][1:], *arguments], scope, streams
                )
        except LayerlineError as exc:
            return Status.of(exc)
        return await self._handle(argv, scope, streams)

    async def _prepared(self, argv: list[str]) -> list[str]:
        """The command with its name as it is looked up."""
        name = argv[0]
        if name == _RESERVED:
            message = f'command "{_RESERVED}" is reserved for internal use'
            raise LayerlineError(message)
        if has_token(name) and self.evaluator.store.load(name) is None:
            name = await self.evaluator.resolve(name)
        if name in _EXPOSED:
            name = _PREFIX + name.removeprefix(".")
        return [name, *argv[1:]]

    async def _handle(self, argv: list[str], scope: Scope, streams: Streams) -> Status:
        state = None
        try:
            if has_token(argv[0]):
                await streams.stdout.write(argv[0])
                return Status()
            state = self._input(argv, streams)
            if state is not None and state.error is not None:
                await self._write(state, streams)
                return Status()
            after = await self._command(argv, state, scope, streams)
            if after is not None:
                await streams.stdout.write(self.evaluator.store.token(after))
        except LayerlineError as exc:
            failed = replace(state or State(target=self.place.target), error=exc)
            await self._write(failed, streams)
            return Status.of(exc)
        return Status()

    async def _write(self, state: State, streams: Streams) -> None:
        """Hand on a failure; where nobody reads it, it is the status that reports it."""
        with suppress(LayerlineError):
            await streams.stdout.write(self.evaluator.store.token(state))

    def _input(self, argv: list[str], streams: Streams) -> State | None:
        """The state from the command before; None for the first one of a pipeline."""
        if streams.stdin is None:
            return None
        state = self.evaluator.store.load(streams.stdin.read())
        if state is None:
            message = f'unexpected input for command "{argv[0]}"'
            raise LayerlineError(message)
        return state

    async def _command(
        self, argv: list[str], state: State | None, scope: Scope, streams: Streams
    ) -> State | None:
        name, arguments = argv[0], argv[1:]
        command = find_command(name)
        if command is not None:
            await run_command(
                command,
                Invocation(
                    name=name,
                    handler=self,
                    arguments=arguments,
                    state=state,
                    scope=scope,
                    streams=streams,
                ),
            )
            return None
        if state is None:
            return await self._begin(name, arguments)
        if name.startswith(".") and "/" not in name and name != ".":
            message = f'command not found: "{name}"'
            raise LayerlineError(message)
        return await self.call(Found(state, state.next_member(name), ""), arguments)

    async def _begin(self, name: str, arguments: Sequence[str]) -> State:
        found = await self.find(name)
        return await self.call(found, arguments)

    async def call(self, found: Found, arguments: Sequence[str]) -> State:
        """The state after a function was called with arguments."""
        target = found.state.target
        try:
            values = await self.binder.bind(target, found.member, arguments)
        except LayerlineError as exc:
            label = found.label or f'function "{found.member.command}"'
            raise prefixed(label, exc) from exc
        return found.state.then(found.member, values)

    async def find(self, name: str, *, constructs: bool = True) -> Found:
        """What a command names that begins a pipeline.

        A function of the loaded module is called on its main object, if it `constructs` that.
        """
        own = self.own_function(name)
        if own is not None:
            target = self.place.target
            return Found(
                await self._constructed(target) if constructs else State(target=target), own, ""
            )
        dependency = await self.dependency(name)
        if dependency is not None:
            constructor = constructor_of(dependency.types)
            return Found(State(target=dependency), constructor, f'function "{name}"')
        core = State(target=CORE)
        for member in CORE.types.members(core.type_def):
            if name in (member.command, member.api_name) and member.api_name != "id":
                return Found(core, member, "")
        near = did_you_mean(name, self._names())
        try:
            named = await self.module(name)
        except ModuleError as exc:
            message = f"{exc}{near}"
            raise ModuleError(message) from exc
        if named is None:
            message = f'function or module "{name}" not found{near}'
            raise LayerlineError(message)
        constructor = constructor_of(named.types)
        return Found(State(target=named), constructor, f'"{named.types.name}" constructor')

    async def module(self, name: str) -> CallTarget | None:
        """The module that a path or a git reference names; None where a directory lies in none."""
        candidate = None
        if self.place.origin is None:
            try:
                candidate = self.place.host_path(self.place.within(name))
            except LayerlineError as exc:
                where = f'find module "{name}"'
                raise prefixed(where, exc) from exc
        return await find_by_name(self.modules, name, candidate)

    def own_function(self, name: str) -> Member | None:
        """The function of a name of the loaded module's main object."""
        for member in self.own_functions():
            if name in (member.command, member.api_name):
                return member
        return None

    def own_functions(self) -> list[Member]:
        """The functions of the loaded module's main object; none without a module."""
        types = self.place.target.types
        if self.place.target.loaded is None:
            return []
        return types.members(constructor_of(types).function.return_type)

    async def dependency(self, name: str) -> CallTarget | None:
        """The module that the loaded one depends on, or has as a toolchain, under a name."""
        for each in self.dependencies():
            if name in (each.name, kebab(each.name)):
                target = await self.modules.target(each.module)
                return replace(target, types=replace(target.types, alias=each.name))
        return None

    def dependencies(self) -> tuple[LoadedDependency, ...]:
        """What the loaded module depends on, and its toolchains."""
        loaded = self.place.target.loaded
        return (*loaded.dependencies, *loaded.toolchains) if loaded else ()

    def _names(self) -> list[str]:
        """What a pipeline can begin with, apart from modules that are named by a path."""
        members = (*self.own_functions(), *CORE.types.members(State(target=CORE).type_def))
        return [*(each.command for each in members), *(each.name for each in self.dependencies())]

    async def _constructed(self, target: CallTarget) -> State:
        """The main object made without arguments, for a function that is called on it."""
        constructor = constructor_of(target.types)
        for arg in constructor.function.args:
            if is_required(arg) and target.defaults.text(constructor, arg) is None:
                message = f'missing required argument: "{arg.name}"'
                raise LayerlineError(message)
        found = Found(State(target=target), constructor, f'"{target.types.name}" constructor')
        return await self.call(found, ())
