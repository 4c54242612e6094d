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
# What SDKs older than v0.19 find instead.
OLD_FIELDS: dict[tuple[str, str], Field] = {}


def field(type_name: str, name: str, *, differs: str | None = None) -> Callable[[F], F]:
    """Decorator: the function answers `type_name.name`.

    It is called with the receiver, the `Call`, and the arguments by their snake_case names; an
    argument that is absent or null is left out, and an id arrives as the value that it names.
    """
    return _adder(FIELDS, type_name, name, differs)


def old_field(type_name: str, name: str) -> Callable[[F], F]:
    """Decorator: the function answers the field for SDKs older than v0.19."""
    return _adder(OLD_FIELDS, type_name, name, None)


def _adder(
    fields: dict[tuple[str, str], Field], type_name: str, name: str, differs: str | None
) -> Callable[[F], F]:
    def add(function: F) -> F:
        fields[type_name, name] = Field(
            type_name=type_name, name=name, resolve=function, differs=differs
        )
        return function

    return add
