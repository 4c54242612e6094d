"""Calls of a module's functions: the request to its process, and the answer.

Invariant: of two calls with the same key in one session one process runs; each process has a token
of its own, which is worth nothing after the call.
"""

from __future__ import annotations

import functools
import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from layerline.engine.api.schema import schema_of_view
from layerline.engine.module import results
from layerline.engine.module.call_cache import CallCache
from layerline.engine.module.call_process import CallProcess, in_thread, run_container
from layerline.engine.module.client_schema import ServedModule, client_schema
from layerline.engine.module.conversion import Conversion
from layerline.engine.module.definitions import (
    Function,
    FunctionCall,
    FunctionCallArgValue,
    Module,
)
from layerline.engine.module.naming import lower_camel, type_name
from layerline.engine.module.objects import ModuleObject
from layerline.engine.module.session_arguments import complete_in_session
from layerline.engine.module.types import element_of, own_members, references
from layerline.engine.solve.task_groups import task_group
from layerline.errors import (
    FunctionFailed,
    ModuleError,
    QueryError,
)
from layerline.log import Kind, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from layerline.engine.api.session import Client, Session
    from layerline.engine.module.client_schema import ClientSchema
    from layerline.engine.module.definitions import Json
    from layerline.engine.module.loading import LoadedDependency, LoadedModule
    from layerline.engine.module.process import Program
    from layerline.log import Step


T = TypeVar("T")


class DefinitionFailed(ModuleError):
    """The code of a module says why it defines nothing."""


@dataclass(slots=True, kw_only=True, eq=False)
class Caller:
    """Calls the functions of one module in one session."""

    session: Session
    module: LoadedModule
    _program: list[Program] = field(default_factory=list)
    _defined: list[Module] = field(default_factory=list)
    _schemas: dict[bool, ClientSchema | None] = field(default_factory=dict)
    _ahead: list[CallProcess] = field(default_factory=list)

    @classmethod
    def of(cls, session: Session, module: LoadedModule) -> Caller:
        """The session's caller of a module; those of its dependencies are created with it."""
        if module.digest not in session.modules:
            for dependency in module.dependencies:
                cls.of(session, dependency.module)
            session.modules[module.digest] = cls(session=session, module=module)
        found: Caller = session.modules[module.digest]
        return found

    @property
    def conversion(self) -> Conversion:
        """The conversion of the values of a module that was defined."""
        types = self.module.types(self._defined[0])
        return Conversion(session=self.session, types=types, digest=self.module.digest)

    async def define(self) -> Module:
        """The module's definition, from its process if the store does not have it."""
        if not self._defined:
            self._defined.append(
                await self.session.once(f"define {self.module.digest}", self._define)
            )
        return self._defined[0]

    async def _define(self) -> Module:
        store = self.session.store
        known = self.module.definition(store)
        if known is not None:
            return known
        with self.session.journal.step("load type definitions") as step:
            try:
                text = await self._run_process(FunctionCall(), "", step)
            except FunctionFailed as exc:
                message = f'failed to call module "{self.module.name}" to get functions: {exc}'
                raise DefinitionFailed(message) from exc
            defined: Module = self.session.load(json.loads(text), "Module")
            await self._check_types(defined)
            self.module.remember(store, defined)
        return defined

    async def _check_types(self, defined: Module) -> None:
        """Refuse types of other modules in what a module offers, as the Dagger engine does."""
        foreign = {
            type_name(each.alias, item.name, each.caller.module.name): each.alias
            for each in await self.dependencies()
            for item in (*each.definition.objects, *each.definition.enums)
        }
        own = {type_name(self.module.name, item.name) for item in defined.objects}
        for where, type_def in references(defined):
            name = element_of(type_def).name
            if name in foreign and type_name(self.module.name, name) not in own:
                message = f'{where} external type from dependency module "{foreign[name]}"'
                raise DefinitionFailed(message)

    async def invoke(
        self, owner: str, function: Function, parent: Json, given: Mapping[str, Any]
    ) -> Any:
        """Call a function with the API's values; what is not given has its default."""
        await self.define()
        converted = await self.conversion.arguments(function, given)
        arguments = await complete_in_session(self.session, self.module.config, function, converted)
        value = await self.call(owner, function, parent, arguments)
        return self.conversion.result(function.return_type, value)

    async def serve(
        self,
        client: Client,
        *,
        name: str = "",
        dependencies: bool = False,
        entrypoint: bool = False,
    ) -> None:
        """Serve the module to a client: under a name, or its functions at the root."""
        own = ServedModule(
            alias=name or self.module.name,
            caller=self,
            definition=await self.define(),
            at_root=not entrypoint,
        )
        others = await self.dependencies() if dependencies else []
        if entrypoint:
            others += await self._defined_modules(self.module.toolchains)
        schema = client_schema([*others, own], entrypoint=own if entrypoint else None)
        client.schema = schema.served

    async def call_interface(
        self, identifier: str, function: Function, arguments: dict[str, Any]
    ) -> Json:
        """What a function of an interface returns for the object that an id names."""
        known = self.session.load(identifier)
        if not isinstance(known, ModuleObject):
            message = f"load {identifier}: {known.typename} implements no interface of a module"
            raise QueryError(message)
        caller: Caller = self.session.modules[known.module]
        await caller.define()
        return caller.conversion.plain(await caller.call_member(known, function.name, arguments))

    async def call_member(
        self, value: ModuleObject, name: str, arguments: Mapping[str, Any]
    ) -> Any:
        """The member of a name of an object; names are compared as the API spells them."""
        shape = self.conversion.types.own_object(value.object)
        wanted = lower_camel(name)
        for member in own_members(shape) if shape is not None else ():
            if member.api_name != wanted:
                continue
            if member.is_field:
                field_type = member.function.return_type
                return self.conversion.result(field_type, value.fields[member.function.name])
            names = {lower_camel(arg.name): arg.name for arg in member.function.args}
            given = {names[lower_camel(name)]: item for name, item in arguments.items()}
            return await self.invoke(value.object, member.function, value.fields, given)
        message = f"{value.typename} does not implement the interface: it has no {wanted!r}"
        raise QueryError(message)

    async def schema(self, *, defined: bool) -> ClientSchema | None:
        """What the module's own processes are served; None where it is the core alone.

        Without `defined` the types of the module itself are not known yet.
        """
        if defined not in self._schemas:
            self._schemas[defined] = await self._schema(defined=defined)
        return self._schemas[defined]

    async def _schema(self, *, defined: bool) -> ClientSchema | None:
        served = await self.dependencies()
        own, calls_itself = None, self.module.config.self_calls
        if defined:
            own = await self.define()
        if own is not None and (own.interfaces or calls_itself):
            name = self.module.name
            served.append(
                ServedModule(alias=name, caller=self, definition=own, at_root=calls_itself)
            )
        version = self.module.config.engine_version
        return client_schema(served, engine=version) if served or schema_of_view(version) else None

    async def dependencies(self) -> list[ServedModule]:
        """What the module depends on, each defined, under the names that it calls them by."""
        return await self._defined_modules(self.module.dependencies)

    async def _defined_modules(self, modules: Sequence[LoadedDependency]) -> list[ServedModule]:
        callers = [Caller.of(self.session, each.module) for each in modules]
        async with task_group() as group:
            for caller in callers:
                group.start_soon(caller.define)
        return [
            ServedModule(alias=each.name, caller=caller, definition=await caller.define())
            for each, caller in zip(modules, callers, strict=True)
        ]

    async def call(
        self, owner: str, function: Function, parent: Json, arguments: dict[str, Any]
    ) -> Json:
        """The JSON value that a function returns; objects in it are ids."""
        run = functools.partial(self._call_process, owner, function)
        seconds = results.lifetime(function, caching=self.module.config.caching)
        if seconds is None:
            return await run(parent, arguments)
        name = call_name(self.module.name, owner, function)
        cache = CallCache(
            session=self.session,
            module=self.module.digest,
            owner=owner,
            function=function.name,
            seconds=seconds,
            run=run,
            report_hit=lambda: self.session.journal.step(name, Kind.CALL).end(Status.CACHED),
        )
        return await cache.get(parent, arguments)

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
        name = call_name(self.module.name, owner, function)
        with self.session.journal.step(name, Kind.CALL) as step:
            if not function.name:
                await self._start_ahead()
            return json.loads(await self._run_process(call, function.name, step))

    async def _run_process(self, call: FunctionCall, name: str, step: Step) -> str:
        """Run the entry point for a call; the JSON text of its answer."""
        if name and self._ahead:
            started = self._ahead.pop()
            started.take(call, step)
            await started.end()
        else:
            started = await self._create_process(defined=bool(call.parent_name))
            started.take(call, step)
            await started.run()
        return started.outcome(name)

    async def _create_process(self, *, defined: bool) -> CallProcess:
        await self.prepare()
        schema = await self.schema(defined=defined)
        return CallProcess.create(
            self.session, self.module, self._program[0], schema, shows_spans=defined
        )

    async def _start_ahead(self) -> None:
        """Start the process of the next call, which waits for it.

        A function follows its constructor nearly always, and half of its time goes into imports.
        """
        if not self._ahead:
            started = await self._create_process(defined=True)
            self._ahead.append(started)
            self.session.solver.group.start_soon(started.run_ahead)

    async def prepare(self) -> None:
        """Create the module's environment unless it exists."""
        session = self.session
        if self._program:
            return
        cancel = threading.Event()
        run = functools.partial(
            run_container, session, on_output=lambda _data, _stream: None, cancel=cancel
        )
        make = functools.partial(
            self.module.program, session.store, session.settings, session.journal, run=run
        )
        self._program.append(await in_thread(session, make, cancel))


def call_name(module: str, owner: str, function: Function) -> str:
    """A call's name in the progress: `Sample.text`, and `sample` for the constructor."""
    if not function.name:
        return lower_camel(module)
    return f"{type_name(module, owner)}.{lower_camel(function.name)}"
