"""The fields by which a module says what it defines: typeDef, function and module chains."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from layerline.engine.api.fields import field
from layerline.engine.module.definitions import (
    EnumTypeDef,
    EnumValueTypeDef,
    FieldTypeDef,
    Function,
    FunctionArg,
    InterfaceTypeDef,
    ListTypeDef,
    Module,
    ObjectTypeDef,
    ScalarTypeDef,
    SourceMap,
    TypeDef,
)
from layerline.engine.module.naming import lower_camel, pascal
from layerline.errors import QueryError

if TYPE_CHECKING:
    from layerline.engine.api.objects import Query
    from layerline.engine.api.session import Call


@field("Query", "sourceMap")
def source_map(_root: Query, _call: Call, *, filename: str, line: int, column: int) -> SourceMap:
    return SourceMap(filename=filename, line=line, column=column)


@field("Query", "typeDef")
def type_def(_root: Query, _call: Call) -> TypeDef:
    return TypeDef()


@field("TypeDef", "withKind")
def with_kind(self: TypeDef, _call: Call, *, kind: str) -> TypeDef:
    return replace(self, kind=kind)


@field("TypeDef", "withOptional")
def with_optional(self: TypeDef, _call: Call, *, optional: bool) -> TypeDef:
    return replace(self, optional=optional)


@field("TypeDef", "withScalar")
def with_scalar(self: TypeDef, _call: Call, *, name: str, description: str = "") -> TypeDef:
    scalar = ScalarTypeDef(name=name, description=description)
    return replace(self, kind="SCALAR_KIND", name=name, as_scalar=scalar)


@field("TypeDef", "withListOf")
def with_list_of(self: TypeDef, _call: Call, *, element_type: TypeDef) -> TypeDef:
    return replace(self, kind="LIST_KIND", as_list=ListTypeDef(element_type_def=element_type))


@field("TypeDef", "withObject")
def with_object(
    self: TypeDef,
    _call: Call,
    *,
    name: str,
    description: str = "",
    deprecated: str | None = None,
    source_map: SourceMap | None = None,
    **_: object,
) -> TypeDef:
    shape = ObjectTypeDef(
        name=name, description=description, deprecated=deprecated, source_map=source_map
    )
    return replace(self, kind="OBJECT_KIND", name=name, as_object=shape)


@field("TypeDef", "withInterface")
def with_interface(
    self: TypeDef,
    _call: Call,
    *,
    name: str,
    description: str = "",
    source_map: SourceMap | None = None,
    **_: object,
) -> TypeDef:
    shape = InterfaceTypeDef(name=name, description=description, source_map=source_map)
    return replace(self, kind="INTERFACE_KIND", name=name, as_interface=shape)


@field("TypeDef", "withEnum")
def with_enum(
    self: TypeDef,
    _call: Call,
    *,
    name: str,
    description: str = "",
    source_map: SourceMap | None = None,
    **_: object,
) -> TypeDef:
    shape = EnumTypeDef(name=name, description=description, source_map=source_map)
    return replace(self, kind="ENUM_KIND", name=name, as_enum=shape)


@field("TypeDef", "withEnumMember")
def with_enum_member(
    self: TypeDef,
    _call: Call,
    *,
    name: str,
    value: str = "",
    description: str = "",
    deprecated: str | None = None,
    source_map: SourceMap | None = None,
    **_: object,
) -> TypeDef:
    if self.as_enum is None:
        message = f"cannot add the member {name!r} to a type that is not an enum"
        raise QueryError(message)
    member = EnumValueTypeDef(
        name=name,
        value=value,
        description=description,
        deprecated=deprecated,
        source_map=source_map,
    )
    return replace(self, as_enum=replace(self.as_enum, members=(*self.as_enum.members, member)))


@field("TypeDef", "withEnumValue")
def with_enum_value(
    self: TypeDef,
    call: Call,
    *,
    value: str,
    description: str = "",
    deprecated: str | None = None,
    source_map: SourceMap | None = None,
    **_: object,
) -> TypeDef:
    return with_enum_member(
        self,
        call,
        name=value,
        value=value,
        description=description,
        deprecated=deprecated,
        source_map=source_map,
    )


@field("TypeDef", "withField")
def with_field(
    self: TypeDef,
    _call: Call,
    *,
    name: str,
    type_def: TypeDef,
    description: str = "",
    deprecated: str | None = None,
    source_map: SourceMap | None = None,
    **_: object,
) -> TypeDef:
    if self.as_object is None:
        message = f"cannot add the field {name!r} to a type that is not an object"
        raise QueryError(message)
    added = FieldTypeDef(
        name=name,
        type_def=type_def,
        description=description,
        deprecated=deprecated,
        source_map=source_map,
    )
    return replace(self, as_object=replace(self.as_object, fields=(*self.as_object.fields, added)))


@field("TypeDef", "withFunction")
def with_function(self: TypeDef, _call: Call, *, function: Function) -> TypeDef:
    if self.as_object is not None:
        functions = (*self.as_object.functions, function)
        return replace(self, as_object=replace(self.as_object, functions=functions))
    if self.as_interface is not None:
        functions = (*self.as_interface.functions, function)
        return replace(self, as_interface=replace(self.as_interface, functions=functions))
    message = f"cannot add the function {function.name!r} to a type that has no functions"
    raise QueryError(message)


@field("TypeDef", "withConstructor")
def with_constructor(self: TypeDef, _call: Call, *, function: Function) -> TypeDef:
    if self.as_object is None:
        message = "only an object has a constructor"
        raise QueryError(message)
    return replace(self, as_object=replace(self.as_object, constructor=function))


@field("FunctionArg", "name")
@field("FieldTypeDef", "name")
@field("Function", "name")
def member_name(self: Function | FunctionArg | FieldTypeDef, _call: Call) -> str:
    return lower_camel(self.name)


@field("EnumTypeDef", "name")
@field("InterfaceTypeDef", "name")
@field("ObjectTypeDef", "name")
def shape_name(self: EnumTypeDef | InterfaceTypeDef | ObjectTypeDef, _call: Call) -> str:
    return pascal(self.name)


@field("EnumTypeDef", "values")
def enum_values(self: EnumTypeDef, _call: Call) -> tuple[EnumValueTypeDef, ...]:
    return self.members


@field("Query", "function")
def function(_root: Query, _call: Call, *, name: str, return_type: TypeDef) -> Function:
    return Function(name=name, return_type=return_type)


@field("Function", "withDescription")
def with_description(self: Function, _call: Call, *, description: str) -> Function:
    return replace(self, description=description)


@field("Function", "withDeprecated")
def with_deprecated(self: Function, _call: Call, *, reason: str = "") -> Function:
    return replace(self, deprecated=reason)


@field("Function", "withCachePolicy")
def with_cache_policy(
    self: Function, _call: Call, *, policy: str, time_to_live: str | None = None
) -> Function:
    return replace(self, cache_policy=policy, time_to_live=time_to_live)


@field("Function", "withCheck")
def with_check(self: Function, _call: Call) -> Function:
    return replace(self, role="check")


@field("Function", "withGenerator")
def with_generator(self: Function, _call: Call) -> Function:
    return replace(self, role="generator")


@field("Function", "withUp")
def with_up(self: Function, _call: Call) -> Function:
    return replace(self, role="up")


@field("Function", "withSourceMap")
def with_source_map(self: Function, _call: Call, *, source_map: SourceMap) -> Function:
    return replace(self, source_map=source_map)


@field("Function", "withArg")
def with_arg(
    self: Function,
    _call: Call,
    *,
    name: str,
    type_def: TypeDef,
    description: str = "",
    default_value: str | None = None,
    default_path: str = "",
    ignore: tuple[str, ...] | list[str] = (),
    deprecated: str | None = None,
    default_address: str = "",
    source_map: SourceMap | None = None,
    **_: object,
) -> Function:
    added = FunctionArg(
        name=name,
        type_def=type_def,
        description=description,
        default_value=default_value,
        default_path=default_path,
        default_address=default_address,
        ignore=tuple(ignore),
        deprecated=deprecated,
        source_map=source_map,
    )
    return replace(self, args=(*self.args, added))


@field("Query", "module")
def module(_root: Query, _call: Call) -> Module:
    return Module()


@field("Module", "withDescription")
def with_module_description(self: Module, _call: Call, *, description: str) -> Module:
    return replace(self, description=description)


@field("Module", "withObject")
def with_module_object(self: Module, _call: Call, *, object: TypeDef) -> Module:
    return replace(self, objects=(*self.objects, object))


@field("Module", "withInterface")
def with_module_interface(self: Module, _call: Call, *, iface: TypeDef) -> Module:
    return replace(self, interfaces=(*self.interfaces, iface))


@field("Module", "withEnum")
def with_module_enum(self: Module, _call: Call, *, enum: TypeDef) -> Module:
    return replace(self, enums=(*self.enums, enum))
