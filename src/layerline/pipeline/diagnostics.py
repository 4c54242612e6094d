"""Diagnostics for a `layerline.toml`: the line, the mistake, and how to fix it."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from layerline.pipeline.errors import PipelineError
from layerline.pipeline.line_numbers import Place, line_of_place, line_of_syntax_error

FILE = "layerline.toml"
# Up to the last "@" of the authority (RFC 3986), as passwords may hold one that is not escaped.
_CREDENTIALS = re.compile(r"(://)[^/\s'\"]+@")
EVERY_TARGET = "*"
# Pydantic's types of errors whose messages are about Python.
_REASONS = {
    "string_pattern_mismatch": "invalid value",
    "too_short": "at least one is needed",
    "int_type": "input should be an integer",
    "int_parsing": "input should be an integer",
    "bool_type": "input should be true or false",
    "bool_parsing": "input should be true or false",
}


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A message about a place in the file; `place` is the path of keys to it."""

    text: str
    place: Place = ()


class DefinitionError(PipelineError):
    """An invalid definition; the message lists every mistake with its line."""

    def __init__(self, wrong: Sequence[Diagnostic], text: str = "") -> None:
        lines = [f"{FILE}{_colon(_line_of(text, each))} {each.text}" for each in wrong]
        super().__init__(_CREDENTIALS.sub(r"\1***@", "\n".join(lines)))


def diagnostics(error: ValidationError, model: type[BaseModel]) -> list[Diagnostic]:
    """Pydantic's errors as diagnostics in terms of the file."""
    return [_diagnostic(found["type"], found["loc"], found, model) for found in error.errors()]


def _diagnostic(
    kind: str, place: Place, found: Mapping[str, object], model: type[BaseModel]
) -> Diagnostic:
    keys = tuple(key for key in place if key not in ("[key]", EVERY_TARGET))
    field = _field(model, keys) if "[key]" not in place else None
    table = ".".join(str(key) for key in keys[:-1]) or "the file"
    key = str(keys[-1]) if keys else ""
    match kind:
        case "extra_forbidden":
            near = difflib.get_close_matches(key, _keys(model, keys[:-1]), n=1)
            known = near or sorted(_keys(model, keys[:-1]))
            return Diagnostic(f"{table} has no key {key!r}: use {' or '.join(known)}", keys)
        case "missing":
            return Diagnostic(f"{table} has no {key!r}: add {_example(key, field)}", keys[:-1])
        case _:
            shown = found["input"]
            name = next((str(each) for each in reversed(keys) if isinstance(each, str)), key)
            where = ".".join(str(each) for each in keys if isinstance(each, str))
            text = f"{where} is {shown!r}: {_reason(found)}"
            named = tuple(each for each in keys if isinstance(each, str))
            fixed = _fixed(kind, str(keys[-1]), name, shown) or _example(name, field)
            hint = "" if text.endswith("?") else f"; use {fixed}"
            return Diagnostic(f"{text}{hint}", (*named, str(shown)))


def _fixed(kind: str, key: str, name: str, value: object) -> str:
    """What was written as it should be, where that is clear; empty where it is not."""
    if kind == "string_type" and isinstance(value, int | float):
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return f'{name} = ["{text}"]' if key.isdigit() else f'{key} = "{text}"'
    if kind == "tuple_type" and isinstance(value, str | int):
        return f"{key} = {_toml([value])}"
    return ""


def _reason(found: Mapping[str, object]) -> str:
    if (reason := _REASONS.get(str(found["type"]))) is not None:
        return reason
    said = str(found["msg"]).removeprefix("Value error, ").replace("valid tuple", "list")
    said = re.sub(r"valid dictionary or instance of \w+", "table", said)
    return said[:1].lower() + said[1:]


def _example(key: str, field: FieldInfo | None) -> str:
    if field is None or not field.examples:
        return "a name of lower-case letters, digits and dashes"
    return f"{key} = {_toml(field.examples[0])}"


def _toml(value: object) -> str:
    match value:
        case str():
            return f'"{value}"'
        case list():
            return f"[{', '.join(_toml(item) for item in value)}]"
        case bool():
            return str(value).lower()
        case dict() if not value:
            return "{}"
        case dict():
            return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
        case _:
            return str(value)


def _field(model: type[BaseModel], place: Place) -> FieldInfo | None:
    """The field that a place is in."""
    found: FieldInfo | None = None
    current: type[BaseModel] | None = model
    for key in place:
        if current is not None and key in current.model_fields:
            found = current.model_fields[str(key)]
            current = _model_in(found.annotation)
    return found


def _keys(model: type[BaseModel], table: Place) -> list[str]:
    """The keys that a table may have."""
    field = _field(model, table)
    inner = _model_in(field.annotation) if field is not None else model
    return sorted(inner.model_fields) if inner is not None else []


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is None and not isinstance(annotation, UnionType):
        return None
    return next((found for each in get_args(annotation) if (found := _model_in(each))), None)


def _line_of(text: str, wrong: Diagnostic) -> int | None:
    return line_of_syntax_error(wrong.text) or line_of_place(text, wrong.place)


def _colon(line: int | None) -> str:
    return ":" if line is None else f":{line}:"
