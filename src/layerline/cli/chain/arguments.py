"""Arguments as flags: which flag a type gives, and what its text stands for.

Scalars are converted while the command line is read; what needs the engine (`env://TOKEN`, `./src`,
`debian:12`) keeps its text until then and `addresses` turns it into an object.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from layerline.cli.flags import (
    BadValue,
    Flag,
    parse_bool,
    parse_float,
    parse_int,
    parse_int_item,
    parse_list,
)
from layerline.engine.module.naming import kebab, lower_camel

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerline.engine.module.definitions import EnumTypeDef, FunctionArg, TypeDef
    from layerline.engine.module.types import Types

_ADDRESSED = {
    "Container": "container address cannot be empty",
    "Directory": "directory address cannot be empty",
    "File": "file path cannot be empty",
    "Secret": "",
    "Service": "service address cannot be empty",
    "CacheVolume": "cacheVolume name cannot be empty",
    "Socket": "socket path cannot be empty",
    "GitRepository": "",
    "GitRef": "",
}
_SCALARS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "STRING_KIND": ("string", str),
    "INTEGER_KIND": ("int", parse_int),
    "FLOAT_KIND": ("float64", parse_float),
    "BOOLEAN_KIND": ("bool", parse_bool),
}
_ITEMS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "STRING_KIND": ("stringSlice", str),
    "INTEGER_KIND": ("intSlice", parse_int_item),
    "FLOAT_KIND": ("float64Slice", parse_float),
    "BOOLEAN_KIND": ("boolSlice", parse_bool),
}


def is_required(arg: FunctionArg) -> bool:
    """Whether an argument has to be given."""
    return not (
        arg.type_def.optional
        or arg.default_value is not None
        or arg.default_path
        or arg.default_address
    )


def flag_for(arg: FunctionArg, types: Types) -> Flag | None:
    """The flag of an argument; None where its type cannot be given as text."""
    parts = _list_flag(arg.type_def, types) if arg.type_def.as_list else _flag(arg.type_def, types)
    if parts is None:
        return None
    kind, parse = parts
    about = with_mark(arg.description, arg.deprecated)
    return Flag(
        name=kebab(lower_camel(arg.name)),
        kind=kind,
        parse=parse,
        usage=f"\n{about}\n" if about else "",
        default=_default_text(arg, kind),
        bare="true" if kind == "bool" else None,
        repeated=arg.type_def.as_list is not None,
        required=is_required(arg),
        group="Arguments",
    )


def with_mark(description: str, deprecated: str | None) -> str:
    """A description that says whether, and why, something is deprecated."""
    if deprecated is None:
        return description
    mark = f"(deprecated: {deprecated})" if deprecated else "(deprecated)"
    return f"{description} {mark}".strip()


def is_addressed(type_def: TypeDef) -> bool:
    """Whether a flag of the type holds an address, or addresses, that the engine has to look up."""
    element = type_def.as_list.element_type_def if type_def.as_list else type_def
    return element.name in _ADDRESSED or element.name == "Platform"


def _flag(type_def: TypeDef, types: Types) -> tuple[str, Callable[[str], Any]] | None:
    if type_def.kind in _SCALARS:
        return _SCALARS[type_def.kind]
    name = type_def.name
    match type_def.kind:
        case "SCALAR_KIND" if name == "Platform":
            return name, functools.partial(_address, empty="platform cannot be empty")
        case "SCALAR_KIND" if name != "ID":
            return "string", str
        case "ENUM_KIND":
            enum = types.enum(type_def)
            return None if enum is None else (_members(enum), functools.partial(_member, enum))
        case "OBJECT_KIND" if name in _ADDRESSED:
            return name, functools.partial(_address, empty=_ADDRESSED[name])
        case "INPUT_KIND" if name == "PortForward":
            return name, _port_forward
        case "INPUT_KIND" if name == "BuildArg":
            return name, _build_arg
        case _:
            return None


def _list_flag(type_def: TypeDef, types: Types) -> tuple[str, Callable[[str], Any]] | None:
    assert type_def.as_list is not None
    element = type_def.as_list.element_type_def
    if element.kind in _ITEMS:
        kind, parse = _ITEMS[element.kind]
        return kind, parse_list(parse)
    found = _flag(element, types)
    if found is None:
        return None
    kind, parse = found
    if kind == "string":
        return "stringSlice", parse_list(str)
    return kind, parse_list(parse, unquote=True)


def _members(enum: EnumTypeDef) -> str:
    return ",".join(member.name for member in enum.members)


def _member(enum: EnumTypeDef, text: str) -> str:
    for member in enum.members:
        if member.name.casefold() == text.casefold():
            return member.name
    message = f"value should be one of {_members(enum)}"
    raise BadValue(message)


def _address(text: str, *, empty: str) -> str:
    if not text and empty:
        raise BadValue(empty)
    return text


def _port_forward(text: str) -> dict[str, int]:
    front, colon, back = text.partition(":")
    if not colon:
        message = f'portForward setting not in the form of frontend:backend: "{text}"'
        raise BadValue(message)
    return {"frontend": _port("frontend", front), "backend": _port("backend", back)}


def _port(side: str, text: str) -> int:
    if not text.isdigit():
        message = f'portForward {side} not a valid integer: "{text}"'
        raise BadValue(message)
    return int(text)


def _build_arg(text: str) -> dict[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        message = f'buildArg setting not in the form of NAME=VALUE: "{text}"'
        raise BadValue(message)
    return {"name": name, "value": value}


def _default_text(arg: FunctionArg, kind: str) -> str:
    """The default as Go prints it in help."""
    value = arg.default
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case list():
            return "[" + ",".join(str(item) for item in value) + "]"
        case float() if kind == "float64":
            return f"{value:g}"
        case _:
            return str(value)
