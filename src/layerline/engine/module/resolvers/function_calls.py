"""The fields that a function's process asks for: its call, its module, and how it answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from layerline.engine.api.fields import field
from layerline.engine.module.definitions import (
    CurrentModule,
    Error,
    ErrorValue,
    FunctionCall,
    Module,
    TypeDef,
)
from layerline.engine.module.function_process import FunctionProcess, function_process_of
from layerline.errors import QueryError

if TYPE_CHECKING:
    from layerline.engine.api.objects import Directory, File, Query
    from layerline.engine.api.session import Call


@field("Query", "currentFunctionCall")
async def current_function_call(_root: Query, call: Call) -> FunctionCall:
    return await _process_of(call).awaited_call()


@field("FunctionCall", "returnValue")
def return_value(_self: FunctionCall, call: Call, *, value: str) -> None:
    _process_of(call).answer(value)


@field("FunctionCall", "returnError")
def return_error(_self: FunctionCall, call: Call, *, error: Error) -> None:
    _process_of(call).fail(error)


@field("Query", "error")
def error(_root: Query, _call: Call, *, message: str) -> Error:
    return Error(message=message)


@field("Error", "withValue")
def with_value(self: Error, _call: Call, *, name: str, value: str) -> Error:
    return replace(self, values=(*self.values, ErrorValue(name=name, value=value)))


@field("Query", "currentModule")
def current_module(_root: Query, call: Call) -> CurrentModule:
    return CurrentModule(name=_process_of(call).module.name)


@field("CurrentModule", "source")
def current_source(_self: CurrentModule, call: Call) -> Directory:
    return _process_of(call).module.source


@field("CurrentModule", "generatedContextDirectory", differs="nothing is generated into it")
def generated_context(_self: CurrentModule, call: Call) -> Directory:
    return replace(_process_of(call).module.source, path="/")


@field("CurrentModule", "workdir")
async def current_workdir(
    _self: CurrentModule,
    call: Call,
    *,
    path: str,
    exclude: list[str] | None = None,
    include: list[str] | None = None,
    gitignore: bool = False,
) -> Directory:
    running = _process_of(call)
    return await running.workdir_directory(
        path, exclude=exclude or [], include=include or [], gitignore=gitignore
    )


@field("CurrentModule", "workdirFile")
async def current_workdir_file(_self: CurrentModule, call: Call, *, path: str) -> File:
    return await _process_of(call).workdir_file(path)


@field("CurrentModule", "dependencies")
def current_dependencies(_self: CurrentModule, call: Call) -> list[Module]:
    store = call.session.store
    return [
        replace(dependency.module.definition(store) or Module(), name=dependency.name)
        for dependency in _process_of(call).module.dependencies
    ]


@field("Query", "currentTypeDefs")
def current_type_defs(_root: Query, call: Call, **_: object) -> list[TypeDef]:
    running = function_process_of(call.client)
    defined = running.module.definition(call.session.store) if running else None
    return list(defined.objects) if defined else []


def _process_of(call: Call) -> FunctionProcess:
    process = function_process_of(call.client)
    if process is None:
        message = "no current module or function call: only a module's own process has one"
        raise QueryError(message)
    return process
