"""The types that a command may meet, a module's own and the core's, by their names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from layerline.engine.module.core import core_types
from layerline.engine.module.definitions import (
    EnumTypeDef,
    Function,
    InterfaceTypeDef,
    Module,
    ObjectTypeDef,
    TypeDef,
)
from layerline.engine.module.naming import kebab, lower_camel, pascal, type_name
from layerline.errors import ModuleError

if TYPE_CHECKING:
    from collections.abc import Iterator

OBJECTS = ("OBJECT_KIND", "INTERFACE_KIND")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A function or a public field of an object type, under its name in the API.

    `owner` is the name under which the module registered the type; empty for the core's.
    """

    function: Function
    api_name: str
    owner: str
    is_field: bool = False

    @property
    def command(self) -> str:
        """The name on the command line."""
        return kebab(self.api_name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Types:
    """Look-up of types; `definition` is None for the core alone.

    A caller that has another name for the module than its own calls it by the `alias`.
    """

    name: str = ""
    definition: Module | None = None
    alias: str = ""

    def main_object(self) -> ObjectTypeDef:
        """The object that the module is called by: the one with the module's name."""
        for item in self.definition.objects if self.definition else ():
            if item.as_object is not None and pascal(item.as_object.name) == pascal(self.name):
                return item.as_object
        message = (
            f"module {self.name!r} defines no object {pascal(self.name)!r}; "
            "decorate the class of that name"
        )
        raise ModuleError(message)

    def own_object(self, name: str) -> ObjectTypeDef | None:
        """A type of the module by any spelling of its name."""
        for item in self.definition.objects if self.definition else ():
            if item.as_object is not None and self._same(item.as_object.name, name):
                return item.as_object
        return None

    def own_interface(self, name: str) -> InterfaceTypeDef | None:
        """An interface of the module by any spelling of its name."""
        for item in self.definition.interfaces if self.definition else ():
            if item.as_interface is not None and self._same(item.as_interface.name, name):
                return item.as_interface
        return None

    def shown_name(self, type_def: TypeDef) -> str:
        """The type's name in the API, of a list that of its elements."""
        element = element_of(type_def)
        own = self.own_object(element.name) or self.own_interface(element.name)
        if own is None:
            return element.name
        return type_name(self.alias or self.name, own.name, self.name)

    def enum(self, type_def: TypeDef) -> EnumTypeDef | None:
        """The enum that a type refers to."""
        for item in self.definition.enums if self.definition else ():
            if item.as_enum is not None and self._same(item.as_enum.name, type_def.name):
                return item.as_enum
        known = core_types().get(type_def.name)
        return known.as_enum if known is not None else type_def.as_enum

    def members(self, type_def: TypeDef) -> list[Member]:
        """The functions and public fields of an object type (of the elements, for a list)."""
        element = element_of(type_def)
        if element.kind not in OBJECTS:
            return []
        own = self.own_object(element.name) or self.own_interface(element.name)
        if own is not None:
            return list(own_members(own))
        known = core_types().get(element.name)
        if known is None:
            return []
        shape = known.as_object or known.as_interface
        return [
            Member(function=function, api_name=function.name, owner="")
            for function in (shape.functions if shape is not None else ())
        ]

    def _same(self, own: str, name: str) -> bool:
        return own == name or type_name(self.name, own) == type_name(self.name, name)


def own_members(shape: ObjectTypeDef | InterfaceTypeDef) -> Iterator[Member]:
    """The members of a module's object: its public fields, then its functions."""
    for item in shape.fields if isinstance(shape, ObjectTypeDef) else ():
        read = Function(
            name=item.name,
            return_type=item.type_def,
            description=item.description,
            deprecated=item.deprecated,
        )
        yield Member(
            function=read, api_name=lower_camel(item.name), owner=shape.name, is_field=True
        )
    for function in shape.functions:
        yield Member(function=function, api_name=lower_camel(function.name), owner=shape.name)


def references(defined: Module) -> Iterator[tuple[str, TypeDef]]:
    """The types that a module's objects name, with what to say before such a type is refused.

    The words are those of https://github.com/dagger/dagger/blob/v0.21.8/core/module.go.
    """
    for item in defined.objects:
        shape = item.as_object
        for field in shape.fields if shape else ():
            yield f'object "{item.name}" field "{field.name}" cannot reference', field.type_def
        for function in shape.functions if shape else ():
            where = f'object "{item.name}" function "{function.name}"'
            yield f"{where} cannot return", function.return_type
            for arg in function.args:
                yield f'{where} arg "{arg.name}" cannot reference', arg.type_def


def element_of(type_def: TypeDef) -> TypeDef:
    """The element type of a list, however deep; any other type itself."""
    while type_def.as_list is not None:
        type_def = type_def.as_list.element_type_def
    return type_def


def reference(name: str) -> TypeDef:
    """A reference to an object type."""
    return replace(TypeDef(), kind="OBJECT_KIND", name=name)
