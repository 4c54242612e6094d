"""The types that a module defines as types of a client's schema.

Named after https://github.com/dagger/dagger/blob/v0.21.8/core/gqlformat.go; interfaces are object
types there, as they are on the Dagger engine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLEnumValue,
    GraphQLField,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    Undefined,
)

from layerline.engine.api.schema import accept_quoted, identify
from layerline.engine.module.naming import lower_camel, type_name
from layerline.engine.module.types import OBJECTS, element_of, own_members
from layerline.errors import ModuleError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from graphql import GraphQLNamedType

    from layerline.engine.module.definitions import (
        EnumTypeDef,
        Function,
        FunctionArg,
        InterfaceTypeDef,
        Module,
        ObjectTypeDef,
        TypeDef,
    )

    MakeResolver = Callable[[str, Function, bool], Callable[..., Any]]

EXPECTED = "expected"  # the type that an argument's id has to be of
VALUE = "value"  # what a member of an enum stands for in its module's code
_SCALARS = {
    "STRING_KIND": "String",
    "INTEGER_KIND": "Int",
    "FLOAT_KIND": "Float",
    "BOOLEAN_KIND": "Boolean",
    "VOID_KIND": "Void",
}
_CONVENTIONAL = re.compile(r"[A-Z0-9]+(_[A-Z0-9]+)*")


def member_name(name: str) -> str:
    """The name of an enum's member in the API: in capitals."""
    if _CONVENTIONAL.fullmatch(name):
        return name
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[-_. ]+", "_", name)
    return parted.upper()


@dataclass(slots=True, kw_only=True, eq=False)
class ModuleTypes:
    """The types of one module, which its caller calls `alias`, over those of the core.

    `resolver` makes the resolver of a member: of which registered type, which function, and whether
    it is a field of the state.
    """

    alias: str
    definition: Module
    original: str
    core: Mapping[str, GraphQLNamedType]
    resolver: MakeResolver
    made: dict[str, GraphQLNamedType] = field(default_factory=dict)

    def api_name(self, name: str) -> str:
        """A registered type's name in this schema."""
        return type_name(self.alias, name, self.original)

    def object_of(self, name: str) -> ObjectTypeDef | None:
        """The module's object of a name."""
        shapes = (item.as_object for item in self.definition.objects)
        return next((x for x in shapes if x is not None and self._same(x.name, name)), None)

    def interface_of(self, name: str) -> InterfaceTypeDef | None:
        """The module's interface of a name."""
        shapes = (item.as_interface for item in self.definition.interfaces)
        return next((x for x in shapes if x is not None and self._same(x.name, name)), None)

    def enum_of(self, name: str) -> EnumTypeDef | None:
        """The module's enum of a name."""
        shapes = (item.as_enum for item in self.definition.enums)
        return next((x for x in shapes if x is not None and self._same(x.name, name)), None)

    def _same(self, own: str, name: str) -> bool:
        return own == name or type_name(self.original, own) == type_name(self.original, name)

    def make_all(self) -> None:
        """Make the type of everything that the module defines."""
        for item in (*self.definition.objects, *self.definition.interfaces):
            shape = item.as_object or item.as_interface
            if shape is not None:
                self._object(shape)
        for item in self.definition.enums:
            if item.as_enum is not None:
                self._enum(item.as_enum)

    def output(self, type_def: TypeDef) -> GraphQLOutputType:
        """The type of what a function returns."""
        if type_def.as_list is not None:
            found: Any = GraphQLList(self.output(type_def.as_list.element_type_def))
        else:
            found = self._named(type_def)
        return cast("GraphQLOutputType", found if type_def.optional else GraphQLNonNull(found))

    def input(self, type_def: TypeDef, *, optional: bool = False) -> GraphQLInputType:
        """The type of an argument; objects are given by their ids."""
        if type_def.as_list is not None:
            found: Any = GraphQLList(self.input(type_def.as_list.element_type_def))
        elif type_def.kind in OBJECTS:
            found = self.core["ID"]
        else:
            found = self._named(type_def)
        return cast(
            "GraphQLInputType", found if type_def.optional or optional else GraphQLNonNull(found)
        )

    def arguments(self, function: Function) -> dict[str, GraphQLArgument]:
        """The arguments of a function by their names in the API."""
        return {lower_camel(arg.name): self._argument(arg) for arg in function.args}

    def function(self, owner: str, function: Function, *, is_field: bool = False) -> GraphQLField:
        """A function, or a field of the state, as a field of the schema."""
        return GraphQLField(
            self.output(function.return_type),
            args=self.arguments(function),
            resolve=self.resolver(owner, function, is_field),
            description=function.description or None,
            deprecation_reason=function.deprecated,
        )

    def _argument(self, arg: FunctionArg) -> GraphQLArgument:
        element = element_of(arg.type_def)
        contextual = bool(arg.default_path or arg.default_address)
        expected = self._expected(element) if element.kind in OBJECTS else None
        return GraphQLArgument(
            self.input(arg.type_def, optional=contextual),
            default_value=Undefined if arg.default_value in (None, "null") else arg.default,
            description=arg.description or None,
            deprecation_reason=arg.deprecated,
            extensions={EXPECTED: expected} if expected else None,
        )

    def _expected(self, type_def: TypeDef) -> str:
        known = self.object_of(type_def.name) or self.interface_of(type_def.name)
        return self.api_name(known.name) if known is not None else type_def.name

    def _named(self, type_def: TypeDef) -> GraphQLNamedType:
        if type_def.kind in _SCALARS:
            return self.core[_SCALARS[type_def.kind]]
        shape = self.object_of(type_def.name) or self.interface_of(type_def.name)
        if type_def.kind in OBJECTS and shape is not None:
            return self._object(shape)
        enum = self.enum_of(type_def.name)
        if type_def.kind == "ENUM_KIND" and enum is not None:
            return self._enum(enum)
        known = self.core.get(type_def.name)
        if known is None:
            message = f"module {self.original!r} names the type {type_def.name!r}, which is unknown"
            raise ModuleError(message)
        return known

    def _object(self, shape: ObjectTypeDef | InterfaceTypeDef) -> GraphQLNamedType:
        name = self.api_name(shape.name)
        if name not in self.made:
            self.made[name] = GraphQLObjectType(
                name,
                fields=lambda: self._fields(shape),
                interfaces=[cast("GraphQLInterfaceType", self.core["Node"])],
                description=shape.description or None,
            )
            self.made[f"{name}ID"] = GraphQLScalarType(f"{name}ID")
        return self.made[name]

    def _fields(self, shape: ObjectTypeDef | InterfaceTypeDef) -> dict[str, GraphQLField]:
        found = {"id": GraphQLField(GraphQLNonNull(self.core["ID"]), resolve=identify)}  # type: ignore[arg-type]
        for member in own_members(shape):
            found[member.api_name] = self.function(
                shape.name, member.function, is_field=member.is_field
            )
        return found

    def _enum(self, shape: EnumTypeDef) -> GraphQLNamedType:
        name = self.api_name(shape.name)
        if name not in self.made:
            members = {
                member_name(member.name): GraphQLEnumValue(
                    member.name,
                    description=member.description or None,
                    deprecation_reason=member.deprecated,
                    extensions={VALUE: member.value or member.name},
                )
                for member in shape.members
            }
            enum = GraphQLEnumType(name, members, description=shape.description or None)
            accept_quoted(enum)
            self.made[name] = enum
        return self.made[name]
