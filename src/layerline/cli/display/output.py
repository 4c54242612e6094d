"""The text of a result: scalars as they are, lists by line, objects as `Type@digest`."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import TYPE_CHECKING

from layerline.engine import digest_of, write_errors
from layerline.engine.module.types import OBJECTS, Types, element_of
from layerline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from layerline.engine.module.definitions import Json, TypeDef

_DIGEST_LETTERS = 16
_LEAST_POWER = -4
_SCIENTIFIC_FROM = 6


def render(
    value: Json,
    type_def: TypeDef,
    types: Types,
    *,
    as_json: bool,
    fields: Sequence[tuple[str, bool]] = (),
) -> str:
    """The text that is printed for a value of a type.

    `fields` are what was asked of the elements of a list: JSON shows them as objects.
    """
    element = element_of(type_def)
    if type_def.kind == "VOID_KIND":
        return ""
    if element.kind in OBJECTS:
        name = types.shown_name(type_def)
        return "".join(_objects(value, name, listed=type_def.as_list is not None))
    if as_json:
        shown = _with_fields(value, fields)
        return json.dumps(shown, ensure_ascii=False, indent=4, sort_keys=True) + "\n"
    return plain(value)


def plain(value: Json) -> str:
    """A scalar or a list of them as Go prints what it read from JSON."""
    match value:
        case list():
            return "".join(f"{plain(item)}\n" for item in value)
        case dict():
            return "".join(plain(item) for item in value.values())
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return _number(float(value))
        case _:
            return str(value)


def save(text: str, output: str, workdir: Path) -> Path:
    """Write a result to a file, making the directories above it."""
    path = workdir / output
    if path.is_dir():
        message = f"cannot save the result to {output}: it is a directory; name a file in it"
        raise UsageError(message)
    with write_errors("failed to save the result", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return path


def _with_fields(value: Json, fields: Sequence[tuple[str, bool]]) -> Json:
    """The elements of a list as objects of one field each, as the API answers for them."""
    if not fields or not isinstance(value, list):
        return value
    return [_element(item, fields) for item in value]


def _element(item: Json, fields: Sequence[tuple[str, bool]]) -> Json:
    if not fields:
        return item
    (name, is_list), *rest = fields
    if rest and is_list:
        return {name: _with_fields(item, rest)}
    return {name: _element(item, rest)}


def _objects(value: Json, name: str, *, listed: bool) -> list[str]:
    if isinstance(value, list):
        return [f"- {line}" for item in value for line in _objects(item, name, listed=False)]
    if listed or value is None:
        return []
    if isinstance(value, str):
        kind, _, digest = value.partition(":")
        return [f"{kind}@xxh3:{digest[:_DIGEST_LETTERS]}\n"]
    return [f"{name}@xxh3:{digest_of(value)[:_DIGEST_LETTERS]}\n"]


def _number(value: float) -> str:
    """Go's `%v` of a float64: the shortest digits, an exponent from 1e+06 and below 1e-04."""
    if not math.isfinite(value) or value == 0:
        return {math.inf: "+Inf", -math.inf: "-Inf", 0.0: "0"}.get(value, "NaN")
    number = Decimal(repr(value)).normalize()
    digits = "".join(map(str, number.as_tuple().digits))
    power = number.adjusted()
    if _LEAST_POWER <= power < _SCIENTIFIC_FROM:
        return format(number, "f")
    sign = "-" if value < 0 else ""
    mantissa = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
    return f"{sign}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"
