"""The API schema of Dagger v0.21, with a resolver attached to every field.

A field without a function in the registry answers by attribute where its value has one, and is
refused by name otherwise: `Container.x is not supported by the embedded engine`.
"""

from __future__ import annotations

import dataclasses
import functools
import gc
import importlib
import inspect
import pkgutil
import threading
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLScalarType,
    GraphQLSchema,
    IntValueNode,
    StringValueNode,
    build_schema,
    print_ast,
)
from packaging.version import InvalidVersion, Version

from layerline.engine.api.fields import FIELDS, OLD_FIELDS
from layerline.engine.api.names import snake
from layerline.errors import NotSupported, QueryError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from layerline.engine.api.fields import Field
    from layerline.engine.api.session import Call

Info = GraphQLResolveInfo[Any]

_LOADERS = ("load", "FromID")
# By name, not by import: the rooms above this one add the resolvers of their own fields.
_RESOLVERS = (
    "layerline.engine.api.resolvers",
    "layerline.engine.dockerfile.resolvers",
    "layerline.engine.module.resolvers",
)
_FIRST_OF_NOW = Version("0.19.0")
_BUILDING = threading.Lock()


@functools.cache
def load_resolvers() -> None:
    """Import every module of resolvers, which fills the registry."""
    for name in _RESOLVERS:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{name}."):
            importlib.import_module(module.name)


def served_schema() -> GraphQLSchema:
    """The schema that sessions serve; concurrent callers wait for the first to build it."""
    with _BUILDING:
        return _build_schema(old=False)


def schema_of_view(version: str) -> tuple[str, GraphQLSchema] | None:
    """A name for what an SDK of a version is served, and it; None for what everybody is.

    The Dagger engine has a view for each version; what changed for clients since v0.18 is little.
    A text that is not a version (`n/a`, `latest`) stands for the newest.
    """
    try:
        if Version(version) >= _FIRST_OF_NOW:
            return None
    except InvalidVersion:
        return None
    with _BUILDING:
        return "view before v0.19", _build_schema(old=True)


@functools.cache
def _build_schema(*, old: bool) -> GraphQLSchema:
    load_resolvers()
    resources = files("layerline.resources")
    text = resources.joinpath("schema.graphql").read_text()
    if old:
        text += resources.joinpath("schema_before_v0.19.graphql").read_text()
    schema = build_schema(text, assume_valid=True, assume_valid_sdl=True)
    fields = {**FIELDS, **OLD_FIELDS} if old else FIELDS
    for graphql_type in schema.type_map.values():
        if graphql_type.name.startswith("__"):
            continue
        if isinstance(graphql_type, GraphQLObjectType):
            for name, field in graphql_type.fields.items():
                field.resolve = in_turn(_resolver(fields, graphql_type.name, name, field))
                _accept_void(field)
        elif isinstance(graphql_type, GraphQLInterfaceType):
            graphql_type.resolve_type = _typename
        elif isinstance(graphql_type, GraphQLEnumType):
            accept_quoted(graphql_type)
    _widen_integers(cast("GraphQLScalarType", schema.type_map["Int"]))
    gc.freeze()  # It lives as long as the process, and each full collection would walk it.
    return schema


def answered_by(type_name: str, name: str, value_class: type | None) -> str:
    """How a field is answered: `resolver`, `attribute`, `id`, `loader` or `refused`."""
    load_resolvers()
    if (type_name, name) in FIELDS:
        return "resolver"
    if name == "id":
        return "id"
    if type_name == "Query" and name.startswith(_LOADERS[0]) and name.endswith(_LOADERS[1]):
        return "loader"
    if value_class is not None and snake(name) in {f.name for f in dataclasses.fields(value_class)}:
        return "attribute"
    return "refused"


def _typename(value: Any, info: Info, _abstract: Any) -> str:
    """The object's type; those of modules have other names for other clients."""
    named = getattr(value, "typename_in", None)
    return cast("str", named(info) if named is not None else value.typename)


def _resolver(
    fields: Mapping[tuple[str, str], Field], type_name: str, name: str, field: GraphQLField
) -> Callable[..., Any]:
    registered = fields.get((type_name, name))
    if registered is not None:
        return _registered_resolver(registered.resolve, field)
    if name == "id":
        return identify
    if type_name == "Query" and name.startswith(_LOADERS[0]) and name.endswith(_LOADERS[1]):
        return _loader(name.removeprefix(_LOADERS[0]).removesuffix(_LOADERS[1]))
    return _attribute_reader(type_name, name)


def in_turn(resolve: Callable[..., Any]) -> Callable[..., Any]:
    """The resolver, which waits when resolvers without a wait of their own have run for long."""

    def resolve_in_turn(value: Any, info: Info, /, **arguments: Any) -> Any | Awaitable[Any]:
        call: Call = info.context
        if not call.session.turns.is_over():
            return resolve(value, info, **arguments)
        return resolve_later(value, info, **arguments)

    async def resolve_later(value: Any, info: Info, /, **arguments: Any) -> Any:
        call: Call = info.context
        await call.session.turns.wait()
        result = resolve(value, info, **arguments)
        return await result if inspect.isawaitable(result) else result

    return resolve_in_turn


def identify(value: Any, info: Info) -> str:
    """The resolver of `id`."""
    call: Call = info.context
    identifier = call.session.identify(value)
    if call.session.keeps_ids and call.client.reaches_host:
        call.session.given[identifier] = value
    return identifier


def _loader(typename: str) -> Callable[..., Any]:
    def load(_root: Any, info: Info, id: str) -> Any:
        call: Call = info.context
        return call.session.load(id, typename)

    return load


def _attribute_reader(type_name: str, name: str) -> Callable[..., Any]:
    attribute = snake(name)

    def read_attribute(value: Any, _info: Info, /, **_arguments: Any) -> Any:
        fields = getattr(value, "__dataclass_fields__", {})
        if attribute not in fields:
            what = f"{type_name}.{name}"
            raise NotSupported(what)
        return getattr(value, attribute)

    return read_attribute


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Parameter:
    """An argument on its way to a resolver.

    Its Python name, and the type of the object when it is an id.
    """

    python: str
    expected: str | None


def _parameters(field: GraphQLField) -> dict[str, _Parameter]:
    return {
        name: _Parameter(python=snake(name), expected=expected_type(argument))
        for name, argument in field.args.items()
    }


def expected_type(argument: GraphQLArgument) -> str | None:
    """The type that an argument's id has to be of."""
    for directive in (argument.ast_node and argument.ast_node.directives) or ():
        if directive.name.value == "expectedType" and directive.arguments:
            return cast("StringValueNode", directive.arguments[0].value).value
    return None


def _registered_resolver(function: Callable[..., Any], field: GraphQLField) -> Callable[..., Any]:
    parameters = _parameters(field)
    waits = inspect.iscoroutinefunction(function)

    def resolve(value: Any, info: Info, /, **arguments: Any) -> Any | Awaitable[Any]:
        call: Call = info.context
        given: dict[str, Any] = {}
        for name, argument in arguments.items():
            if argument is None:
                continue
            parameter = parameters[name]
            given[parameter.python] = (
                argument
                if parameter.expected is None
                else _load_argument(call, argument, parameter.expected)
            )
        if not waits or call.session.solver.context.shared is None:
            return function(value, call, **given)
        attempt = functools.partial(function, value, call, **given)
        return call.session.solver.until_fetched(attempt)

    return resolve


def _load_argument(call: Call, argument: Any, expected: str) -> Any:
    if isinstance(argument, list):
        return [call.session.load(item, expected) for item in argument]
    return call.session.load(argument, expected)


def _accept_void(field: GraphQLField) -> None:
    """`Void!` is null, as on the Dagger engine: the type has no other value."""
    inner = field.type.of_type if isinstance(field.type, GraphQLNonNull) else None
    if isinstance(inner, GraphQLScalarType) and inner.name == "Void":
        field.type = inner


def accept_quoted(enum: GraphQLEnumType) -> None:
    """SDKs may send an enum value as a string literal."""
    plain = enum.coerce_input_literal

    def literal(node: Any, *more: Any) -> Any:
        if isinstance(node, StringValueNode):
            return enum.coerce_input_value(node.value)
        return plain(node, *more)

    enum.coerce_input_literal = literal  # type: ignore[method-assign,assignment]


def _widen_integers(scalar: GraphQLScalarType) -> None:
    """Integers have 64 bits on this wire, and may come as strings."""

    def literal(node: Any, *_more: Any) -> int:
        if isinstance(node, IntValueNode | StringValueNode):
            return _integer(node.value)
        message = f"Int cannot represent non-integer value: {print_ast(node)}"
        raise QueryError(message)

    scalar.coerce_output_value = int
    scalar.coerce_input_value = _integer
    scalar.coerce_input_literal = literal


def _integer(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError) as exc:
        message = f"Int cannot represent {value!r}"
        raise QueryError(message) from exc
