"""The types of the core API, read from the schema, as the values that modules describe."""

from __future__ import annotations

import functools
import re
from importlib.resources import files
from typing import TYPE_CHECKING

from layerline.engine.module.definitions import (
    EnumTypeDef,
    EnumValueTypeDef,
    FieldTypeDef,
    Function,
    FunctionArg,
    InputTypeDef,
    InterfaceTypeDef,
    ListTypeDef,
    ObjectTypeDef,
    ScalarTypeDef,
    TypeDef,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = re.compile(
    r"^(type|interface|enum|input) (\w+)[^{\n]*\{\n(.*?)^\}", re.MULTILINE | re.DOTALL
)
_FIELD = re.compile(r"^  (?P<name>\w+)(?:\((?P<args>.*)\))?: (?P<type>[\w\[\]!]+)(?P<rest>.*)$")
_ARG = re.compile(
    r"^(?P<name>\w+): (?P<type>[\w\[\]!]+)(?: = (?P<default>.*?))?(?P<rest>(?: @.*)?)$"
)
_EXPECTED = re.compile(r'@expectedType\(name: "(\w+)"\)')
GIVES_ID = "id"  # the role of functions whose answer is an id already: sync, start, stop
_KINDS = {
    "String": "STRING_KIND",
    "Int": "INTEGER_KIND",
    "Float": "FLOAT_KIND",
    "Boolean": "BOOLEAN_KIND",
    "Void": "VOID_KIND",
}
_BLOCK_KINDS = {
    "type": "OBJECT_KIND",
    "interface": "INTERFACE_KIND",
    "enum": "ENUM_KIND",
    "input": "INPUT_KIND",
}


@functools.cache
def core_types() -> dict[str, TypeDef]:
    """Every object, interface, enum and input of the core by name; they refer to each other."""
    text = files("layerline.resources").joinpath("schema.graphql").read_text()
    blocks = [(kind, name, body) for kind, name, body in _BLOCK.findall(text)]
    kinds = {name: _BLOCK_KINDS[kind] for kind, name, _ in blocks}
    return {name: _type(kinds, kind, name, body) for kind, name, body in blocks}


def _type(kinds: dict[str, str], kind: str, name: str, body: str) -> TypeDef:
    lines = body.splitlines()
    match kind:
        case "enum":
            members = tuple(
                EnumValueTypeDef(name=line.split()[0], value=line.split()[0]) for line in lines
            )
            return TypeDef(
                kind="ENUM_KIND", name=name, as_enum=EnumTypeDef(name=name, members=members)
            )
        case "input":
            fields = tuple(_input_field(kinds, line.strip()) for line in lines)
            return TypeDef(
                kind="INPUT_KIND", name=name, as_input=InputTypeDef(name=name, fields=fields)
            )
        case "interface":
            shape = InterfaceTypeDef(name=name, functions=tuple(_functions(kinds, lines)))
            return TypeDef(kind="INTERFACE_KIND", name=name, as_interface=shape)
        case _:
            own = ObjectTypeDef(name=name, functions=tuple(_functions(kinds, lines)))
            return TypeDef(kind="OBJECT_KIND", name=name, as_object=own)


def _functions(kinds: dict[str, str], lines: list[str]) -> Iterator[Function]:
    for line in lines:
        match = _FIELD.match(line)
        if match is None:
            continue
        gives_id = match["type"] == "ID!" and _EXPECTED.search(match["rest"])
        yield Function(
            name=match["name"],
            return_type=_reference(kinds, match["type"], match["rest"]),
            args=tuple(_arg(kinds, text) for text in _split(match["args"] or "")),
            role=GIVES_ID if gives_id else "",
        )


def _arg(kinds: dict[str, str], text: str) -> FunctionArg:
    match = _ARG.match(text)
    assert match is not None, text
    default = match["default"]
    if default is not None and default[:1].isalpha() and default not in ("true", "false"):
        default = f'"{default}"'
    return FunctionArg(
        name=match["name"],
        type_def=_reference(kinds, match["type"], match["rest"]),
        default_value=default,
    )


def _input_field(kinds: dict[str, str], line: str) -> FieldTypeDef:
    name, _, rest = line.partition(": ")
    return FieldTypeDef(name=name, type_def=_reference(kinds, rest.split(" ")[0], rest))


def _reference(kinds: dict[str, str], spelled: str, rest: str) -> TypeDef:
    optional = not spelled.endswith("!")
    bare = spelled.removesuffix("!")
    if bare.startswith("["):
        element = _reference(kinds, bare[1:-1], rest)
        return TypeDef(
            kind="LIST_KIND", optional=optional, as_list=ListTypeDef(element_type_def=element)
        )
    expected = _EXPECTED.search(rest)
    name = expected[1] if expected else bare
    if name in _KINDS:
        return TypeDef(kind=_KINDS[name], optional=optional)
    kind = kinds.get(name, "SCALAR_KIND")
    scalar = ScalarTypeDef(name=name) if kind == "SCALAR_KIND" else None
    return TypeDef(kind=kind, name=name, optional=optional, as_scalar=scalar)


def _split(text: str) -> list[str]:
    """Split at the commas that are in no bracket and no string."""
    parts: list[str] = []
    depth, quoted, begin = 0, False, 0
    for place, char in enumerate(text):
        if char == '"':
            quoted = not quoted
        elif not quoted and char in "([{":
            depth += 1
        elif not quoted and char in ")]}":
            depth -= 1
        elif char == "," and depth == 0 and not quoted:
            parts.append(text[begin:place].strip())
            begin = place + 1
    return [part for part in (*parts, text[begin:].strip()) if part]
