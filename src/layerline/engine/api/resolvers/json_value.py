"""JSON values: made, read and changed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from layerline.engine.api.fields import field
from layerline.engine.api.objects import File, Query, Value
from layerline.engine.api.tree_access import file_in, tree_with
from layerline.engine.solve.keys import register
from layerline.errors import QueryError

if TYPE_CHECKING:
    from layerline.engine.api.session import Call

_ESCAPED = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


@register("JSONValue")
@dataclass(frozen=True, kw_only=True)
class JSONValue(Value):
    """A value as the JSON text that it was given as."""

    typename: ClassVar[str] = "JSONValue"
    text: str = "null"


@field("Query", "json")
def json_value(_self: Query, _call: Call) -> JSONValue:
    """The value null."""
    return JSONValue()


@field("File", "asJSON")
async def as_json(self: File, call: Call) -> JSONValue:
    """The value in a file."""
    tree = await tree_with(call, self.tree, self.path)
    data = await call.session.solver.in_thread(file_in(tree, self.path).read)
    return _checked_value(data.decode(errors="replace"))


@field("JSONValue", "contents")
def contents(self: JSONValue, _call: Call, *, pretty: bool = False, indent: str = "  ") -> str:
    """The text; `pretty` formats it, with the members of objects in order."""
    if not pretty:
        return self.text
    return _serialize(_parse(self.text), indent=indent)


@field("JSONValue", "withContents")
def with_contents(_self: JSONValue, _call: Call, *, contents: str) -> JSONValue:
    """Another value, by its text."""
    return _checked_value(contents)


@field("JSONValue", "newInteger")
def new_integer(_self: JSONValue, _call: Call, *, value: int) -> JSONValue:
    """A number."""
    return _of(value)


@field("JSONValue", "newString")
def new_string(_self: JSONValue, _call: Call, *, value: str) -> JSONValue:
    """A string."""
    return _of(value)


@field("JSONValue", "newBoolean")
def new_boolean(_self: JSONValue, _call: Call, *, value: bool) -> JSONValue:
    """A truth value."""
    return _of(value)


@field("JSONValue", "asInteger")
def as_integer(self: JSONValue, _call: Call) -> int:
    """The number; null is 0."""
    value = _parse(self.text)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool):
        raise _mismatch(value, "an integer")
    return value


@field("JSONValue", "asString")
def as_string(self: JSONValue, _call: Call) -> str:
    """The string; null is empty."""
    value = _parse(self.text)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _mismatch(value, "a string")
    return value


@field("JSONValue", "asBoolean")
def as_boolean(self: JSONValue, _call: Call) -> bool:
    """The truth value."""
    value = _parse(self.text)
    if not isinstance(value, bool):
        raise _mismatch(value, "a boolean")
    return value


@field("JSONValue", "asArray")
def as_array(self: JSONValue, _call: Call) -> list[JSONValue]:
    """The elements."""
    value = _parse(self.text)
    if not isinstance(value, list):
        raise _mismatch(value, "an array")
    return [_of(item) for item in value]


@field("JSONValue", "fields")
def fields(self: JSONValue, _call: Call) -> list[str]:
    """The names of an object's members, in order."""
    value = _parse(self.text)
    if not isinstance(value, dict):
        raise _mismatch(value, "an object")
    return sorted(value)


@field("JSONValue", "field")
def member(self: JSONValue, _call: Call, *, path: list[str]) -> JSONValue:
    """The value at a path of member names."""
    value = _parse(self.text)
    for name in path:
        if not isinstance(value, dict):
            message = f"can't lookup field '{name}' in non-object value"
            raise QueryError(message)
        if name not in value:
            message = f"no such field: '{name}'"
            raise QueryError(message)
        value = value[name]
    return _of(value)


@field("JSONValue", "withField")
def with_field(self: JSONValue, _call: Call, *, path: list[str], value: JSONValue) -> JSONValue:
    """Set the value at a path; anything but an object on the way is replaced by one."""
    document = _parse(self.text)
    root: dict[str, Any] = document if isinstance(document, dict) else {}
    here = root
    for name in path[:-1]:
        if not isinstance(here.get(name), dict):
            here[name] = {}
        here = here[name]
    if path:
        here[path[-1]] = _parse(value.text)
    return _of(root)


def _of(value: object) -> JSONValue:
    return JSONValue(text=_serialize(value))


def _serialize(value: object, indent: str | None = None) -> str:
    """The text as Go writes it: members in order, and nothing that could end a script in HTML."""
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(
        value, indent=indent, separators=separators, ensure_ascii=False, sort_keys=True
    )
    return text.translate(_ESCAPED)


def _checked_value(text: str) -> JSONValue:
    _parse(text)
    return JSONValue(text=text)


def _parse(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError as exc:
        message = f"invalid JSON: {exc}"
        raise QueryError(message) from exc


def _refuse_constant(name: str) -> None:
    message = f"invalid number {name}"
    raise ValueError(message)


def _mismatch(value: object, wanted: str) -> QueryError:
    kinds = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return QueryError(f"value is not {wanted} but {kinds.get(type(value), 'a number')}")
