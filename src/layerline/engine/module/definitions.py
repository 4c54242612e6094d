"""A module's definitions as API values: types, functions, arguments; and function calls.

The same values describe the core API to the command line. Names are those that were registered
(Python's); `naming` spells them for the wire and the command line.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from layerline.engine.api.objects import Value
from layerline.engine.solve.keys import WRITTEN, register

if TYPE_CHECKING:
    from layerline.engine.module.module_sources import ModuleSource

Json = Any  # a JSON value as it is read; objects of the API stand in it by their ids


@register("SourceMap")
@dataclass(frozen=True, kw_only=True)
class SourceMap(Value):
    """Where something is defined: file, line and column, counted from 1."""

    typename: ClassVar[str] = "SourceMap"
    filename: str
    line: int
    column: int
    module: str = ""
    url: str = ""


@register("TypeDef")
@dataclass(frozen=True, kw_only=True)
class TypeDef(Value):
    """A type, or a reference to one by `name`. `optional` survives a later change of kind."""

    typename: ClassVar[str] = "TypeDef"
    kind: str = ""
    optional: bool = False
    name: str = ""
    as_list: ListTypeDef | None = None
    as_object: ObjectTypeDef | None = None
    as_interface: InterfaceTypeDef | None = None
    as_enum: EnumTypeDef | None = None
    as_scalar: ScalarTypeDef | None = None
    as_input: InputTypeDef | None = None


@register("ListTypeDef")
@dataclass(frozen=True, kw_only=True)
class ListTypeDef(Value):
    """A list of an element type."""

    typename: ClassVar[str] = "ListTypeDef"
    element_type_def: TypeDef


@register("ScalarTypeDef")
@dataclass(frozen=True, kw_only=True)
class ScalarTypeDef(Value):
    """A custom scalar."""

    typename: ClassVar[str] = "ScalarTypeDef"
    name: str
    description: str = ""
    source_module_name: str = ""


@register("InputTypeDef")
@dataclass(frozen=True, kw_only=True)
class InputTypeDef(Value):
    """An input object of the core API."""

    typename: ClassVar[str] = "InputTypeDef"
    name: str
    fields: tuple[FieldTypeDef, ...] = ()


@register("FunctionArg")
@dataclass(frozen=True, kw_only=True)
class FunctionArg(Value):
    """An argument; `default_value` is JSON text, path and address are contextual defaults."""

    typename: ClassVar[str] = "FunctionArg"
    name: str
    type_def: TypeDef
    description: str = ""
    default_value: str | None = None
    default_path: str = ""
    default_address: str = ""
    ignore: tuple[str, ...] = ()
    deprecated: str | None = None
    source_map: SourceMap | None = field(default=None, metadata=WRITTEN)

    @property
    def default(self) -> Json:
        """The default as a value; None where there is none."""
        return json.loads(self.default_value or "null")


@register("Function")
@dataclass(frozen=True, kw_only=True)
class Function(Value):
    """A function; the constructor has no name. `cache_policy` is Default, PerSession or Never."""

    typename: ClassVar[str] = "Function"
    name: str
    return_type: TypeDef
    description: str = ""
    args: tuple[FunctionArg, ...] = ()
    cache_policy: str = "Default"
    time_to_live: str | None = None
    deprecated: str | None = None
    role: str = ""
    source_module_name: str = ""
    source_map: SourceMap | None = field(default=None, metadata=WRITTEN)


@register("FieldTypeDef")
@dataclass(frozen=True, kw_only=True)
class FieldTypeDef(Value):
    """A field of an object's state that callers may read."""

    typename: ClassVar[str] = "FieldTypeDef"
    name: str
    type_def: TypeDef
    description: str = ""
    deprecated: str | None = None
    source_map: SourceMap | None = field(default=None, metadata=WRITTEN)


@register("ObjectTypeDef")
@dataclass(frozen=True, kw_only=True)
class ObjectTypeDef(Value):
    """An object type: its state's public fields, its functions, and how one is made."""

    typename: ClassVar[str] = "ObjectTypeDef"
    name: str
    description: str = ""
    fields: tuple[FieldTypeDef, ...] = ()
    functions: tuple[Function, ...] = ()
    constructor: Function | None = None
    deprecated: str | None = None
    source_module_name: str = ""
    source_map: SourceMap | None = field(default=None, metadata=WRITTEN)


@register("InterfaceTypeDef")
@dataclass(frozen=True, kw_only=True)
class InterfaceTypeDef(Value):
    """An interface."""

    typename: ClassVar[str] = "InterfaceTypeDef"
    name: str
    description: str = ""
    functions: tuple[Function, ...] = ()
    source_module_name: str = ""
    source_map: SourceMap | None = field(default=None, metadata=WRITTEN)


@register("EnumValueTypeDef")
@dataclass(frozen=True, kw_only=True)
class EnumValueTypeDef(Value):
    """A member of an enum."""

    typename: ClassVar[str] = "EnumValueTypeDef"
    name: str
    value: str = ""
    description: str = ""
    deprecated: str | None = None
    source_map: SourceMap | None = field(default=None, metadata=WRITTEN)


@register("EnumTypeDef")
@dataclass(frozen=True, kw_only=True)
class EnumTypeDef(Value):
    """An enum."""

    typename: ClassVar[str] = "EnumTypeDef"
    name: str
    description: str = ""
    members: tuple[EnumValueTypeDef, ...] = ()
    source_module_name: str = ""
    source_map: SourceMap | None = field(default=None, metadata=WRITTEN)


@register("Module")
@dataclass(frozen=True, kw_only=True)
class Module(Value):
    """All that a module registered; `source` is where it was loaded from, if it was by a query."""

    typename: ClassVar[str] = "Module"
    name: str = ""
    description: str = ""
    objects: tuple[TypeDef, ...] = ()
    interfaces: tuple[TypeDef, ...] = ()
    enums: tuple[TypeDef, ...] = ()
    source: ModuleSource | None = None


@register("ErrorValue")
@dataclass(frozen=True, kw_only=True)
class ErrorValue(Value):
    """A value attached to an error, as JSON text."""

    typename: ClassVar[str] = "ErrorValue"
    name: str
    value: str


@register("Error")
@dataclass(frozen=True, kw_only=True)
class Error(Value):
    """An error that a function returns."""

    typename: ClassVar[str] = "Error"
    message: str
    values: tuple[ErrorValue, ...] = ()


@register("FunctionCallArgValue")
@dataclass(frozen=True, kw_only=True)
class FunctionCallArgValue(Value):
    """An argument of a call, its value as JSON text."""

    typename: ClassVar[str] = "FunctionCallArgValue"
    name: str
    value: str


@register("FunctionCall")
@dataclass(frozen=True, kw_only=True)
class FunctionCall(Value):
    """A call as the module's process sees it; without a parent's name it registers its types."""

    typename: ClassVar[str] = "FunctionCall"
    name: str = ""
    parent_name: str = ""
    parent: str = "null"
    input_args: tuple[FunctionCallArgValue, ...] = ()


@register("CurrentModule")
@dataclass(frozen=True, kw_only=True)
class CurrentModule(Value):
    """The module whose process asks."""

    typename: ClassVar[str] = "CurrentModule"
    name: str
