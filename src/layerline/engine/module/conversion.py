"""Values between the API and a module's process: objects in the one, JSON in the other.

A process gets and returns core objects and interfaces by their ids, objects of its own by their
states, members of enums by their registered names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerline.engine.api.objects import Value
from layerline.engine.module.objects import ModuleObject, module_object
from layerline.engine.module.queries import ask, literal
from layerline.engine.module.types import OBJECTS, element_of
from layerline.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from layerline.engine.api.session import Session
    from layerline.engine.module.definitions import Function, FunctionArg, Json, TypeDef
    from layerline.engine.module.types import Types


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """The conversion of the values of one module, whose identity is `digest`."""

    session: Session
    types: Types
    digest: str

    async def arguments(self, function: Function, given: Mapping[str, Any]) -> dict[str, Json]:
        """The arguments, given by their registered names, as the function's process gets them."""
        found: dict[str, Json] = {}
        for arg in function.args:
            if arg.name in given:
                value = self._argument(arg.type_def, given[arg.name])
                found[arg.name] = await self._without_ignored(arg, value)
        return found

    def result(self, type_def: TypeDef, value: Json) -> Any:
        """What a function returned, as the API has it."""
        if value is None:
            return None
        if type_def.as_list is not None:
            return [self.result(type_def.as_list.element_type_def, item) for item in value]
        if type_def.kind not in OBJECTS:
            return value
        own = self.types.own_object(type_def.name)
        if own is None:
            return self.session.load(value)
        return module_object(self.digest, self.types.name, own.name, value)

    def plain(self, value: Any) -> Json:
        """A value of the API as JSON, with ids for objects."""
        if isinstance(value, list):
            return [self.plain(item) for item in value]
        return self.session.identify(value) if isinstance(value, Value) else value

    def _argument(self, type_def: TypeDef, value: Any) -> Json:
        if value is None:
            return None
        if type_def.as_list is not None:
            return [self._argument(type_def.as_list.element_type_def, item) for item in value]
        if type_def.kind not in OBJECTS:
            return value
        own = self.types.own_object(type_def.name)
        if own is not None:
            return self._own_state(value, own.name)
        known = self.session.load(value)
        if type_def.kind == "OBJECT_KIND" and known.typename != type_def.name:
            message = f"load {value}: expected {type_def.name}, got {known.typename}"
            raise QueryError(message)
        return value

    def _own_state(self, identifier: str, name: str) -> Json:
        known = self.session.load(identifier)
        if not isinstance(known, ModuleObject) or (known.module, known.object) != (
            self.digest,
            name,
        ):
            message = f"load {identifier}: expected {name}, got {known.typename}"
            raise QueryError(message)
        return known.fields

    async def _without_ignored(self, arg: FunctionArg, value: Json) -> Json:
        """A directory without what its argument ignores, as if it had been read without it."""
        if not arg.ignore or element_of(arg.type_def).name != "Directory":
            return value
        if isinstance(value, list):
            return [await self._without_ignored(arg, item) for item in value]
        chosen = f'path: "/", source: {literal(value)}, exclude: {literal(list(arg.ignore))}'
        found = await ask(self.session, f"{{ directory {{ withDirectory({chosen}) {{ id }} }} }}")
        return found["directory"]["withDirectory"]["id"]
