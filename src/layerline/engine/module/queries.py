"""Calls of the core API in process: one function of one object at a time, written as a query."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerline.engine.api.execute import answer
from layerline.engine.module.core import GIVES_ID
from layerline.engine.module.types import OBJECTS, element_of
from layerline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from layerline.engine.api.session import Session
    from layerline.engine.module.definitions import Function, Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal:
    """Text that goes into a query as it is: an enum member."""

    text: str


async def ask(session: Session, query: str, *, elsewhere: bool = False) -> Json:
    """The data of an answer; its first error is raised. `elsewhere` as a call has it."""
    got = await answer(query, session.call(elsewhere=elsewhere))
    if got.failure is not None:
        raise got.failure
    return got.body["data"]


async def call_core(
    session: Session,
    receiver: str | None,
    typename: str,
    function: Function,
    arguments: Mapping[str, Any],
) -> Json:
    """The result of a core function, with ids for objects; without a receiver, of a root field."""
    given = ", ".join(f"{name}: {literal(value)}" for name, value in arguments.items())
    chosen = f"{function.name}({given})" if given else function.name
    gives_objects = element_of(function.return_type).kind in OBJECTS
    if gives_objects and function.role != GIVES_ID:
        chosen += " { id }"
    if receiver is None:
        found = (await ask(session, f"{{ {chosen} }}"))[function.name]
    else:
        query = f"{{ node(id: {literal(receiver)}) {{ ... on {typename} {{ {chosen} }} }} }}"
        found = (await ask(session, query))["node"][function.name]
    return _ids(found)


def literal(value: Json) -> str:
    """A value as GraphQL writes it."""
    match value:
        case Literal():
            return value.text
        case None:
            return "null"
        case list() | tuple():
            return "[" + ", ".join(literal(item) for item in value) + "]"
        case dict():
            return "{" + ", ".join(f"{name}: {literal(item)}" for name, item in value.items()) + "}"
        case str() | bool() | int() | float():
            return json.dumps(value, ensure_ascii=False)
        case _:
            message = f"{type(value).__name__} is not a type of the API"
            raise UsageError(message)


def _ids(found: Json) -> Json:
    match found:
        case {"id": name}:
            return name
        case list():
            return [_ids(item) for item in found]
        case _:
            return found
