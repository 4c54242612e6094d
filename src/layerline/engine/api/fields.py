"""Which function answers which field of the schema; `docs/engine.md` is made from this table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field with a resolver: `resolve(value, call, **arguments)`, plain or async.

    `differs` says in words how the answer differs from the Dagger engine's; None when it does not.
    """

    type_name: str
    name: str
    resolve: Callable[..., Any]
    differs: str | None = None


FIELDS: dict[tuple[str, str], Field] = {}


def field(type_name: str, name: str, *, differs: str | None = None) -> Callable[[F], F]:
    """Decorator: the function answers `type_name.name`.

    It is called with the receiver, the `Call`, and the arguments by their snake_case names; an
    argument that is absent or null is left out, and an id arrives as the value that it names.
    """

    def add(function: F) -> F:
        FIELDS[type_name, name] = Field(
            type_name=type_name, name=name, resolve=function, differs=differs
        )
        return function

    return add
