"""The Python client of a module's dependencies, as the SDK's code generator would write it.

The text is executed in the namespace of `dagger.client.gen`, before anything of the module is
imported: its classes are then where generated ones would be, with the same checks and names
(https://github.com/dagger/dagger/blob/v0.21.8/sdk/python/codegen/src/codegen/generator.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphql import (
    GraphQLEnumType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    Undefined,
    get_named_type,
    is_required_argument,
)

from layerline.engine.module.api_types import EXPECTED, VALUE
from layerline.engine.module.naming import python_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from graphql import GraphQLArgument, GraphQLField

    from layerline.engine.module.client_schema import ClientSchema

_BUILTIN = {"ID": "str", "Int": "int", "String": "str", "Float": "float", "Boolean": "bool"}
_TAIL = """
_methods = vars(Query)
Query = _core_query
for _name in {roots!r}:
    setattr(Query, _name, _methods[_name])
import dagger as _dagger
for _name in {names!r}:
    _value = globals()[_name]
    _value.__module__ = "dagger"
    setattr(_dagger, _name, _value)
__all__ += {names!r}
"""

# Whatever names a class of the SDK names the one that took its place.
_REPLACED = """
import dagger as _dagger
for _name in {names!r}:
    _value = globals()[_name]
    _value.__module__ = "dagger"
    setattr(_dagger, _name, _value)
"""


def client_code(schema: ClientSchema) -> str:
    """The code of everything that a schema has in addition to the core's."""
    writer = _Writer(schema=schema)
    lines = [*writer.old_lines(), *(writer.lines() if schema.roots else ())]
    return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writer:
    schema: ClientSchema

    def lines(self) -> Iterator[str]:
        types = self.schema.types
        for name, made in types.items():
            match made:
                case GraphQLScalarType():
                    yield from _class(name, "Scalar", ["A unique identifier for an object."], [])
                case GraphQLEnumType():
                    yield from _enum(made)
                case _:
                    pass
        for name, made in types.items():
            if isinstance(made, GraphQLObjectType):
                interface = name in self.schema.interfaces
                yield from self._interface(made) if interface else self._object(made)
        yield "_core_query = Query"
        yield "@typecheck"
        yield from _class("Query", "", [], self._methods(self.schema.roots))
        yield _TAIL.format(
            roots=[python_name(name) for name in self.schema.roots], names=list(types)
        )

    def old_lines(self) -> Iterator[str]:
        """The classes of the SDK again, with the methods of an old view."""
        for name, fields in self.schema.old.items():
            yield from _class(name, name, [], self._methods(fields))
        if self.schema.old:
            yield _REPLACED.format(names=list(self.schema.old))

    def _object(self, made: GraphQLObjectType) -> Iterator[str]:
        yield "@typecheck"
        methods = [*self._methods(made.fields), *_chained(made)]
        yield from _class(made.name, "Type", [made.description or ""], methods)

    def _interface(self, made: GraphQLObjectType) -> Iterator[str]:
        """The protocol that arguments are checked by, and the client for what is returned."""
        fields = {name: field for name, field in made.fields.items() if name != "id"}
        declared = [f"{self._signature(name, field)} ..." for name, field in fields.items()]
        yield "@runtime_checkable"
        yield from _class(made.name, "Protocol", [made.description or ""], declared)
        named = ["@classmethod", "def _graphql_name(cls) -> str:", f"    return {made.name!r}"]
        methods = [*named, *self._methods(made.fields)]
        yield "@typecheck"
        yield from _class(f"_{made.name}Client", "Type", [made.description or ""], methods)

    def _methods(self, fields: dict[str, GraphQLField]) -> Iterator[str]:
        for name, field in fields.items():
            yield self._signature(name, field)
            yield from _indented(self._body(name, field))

    def _signature(self, name: str, field: GraphQLField) -> str:
        required = [item for item in field.args.items() if is_required_argument(item[1])]
        others = [item for item in field.args.items() if not is_required_argument(item[1])]
        parameters = ["self", *(self._parameter(*item) for item in required)]
        parameters += ["*", *(self._parameter(*item) for item in others)] if others else []
        lazy = _is_lazy(field)
        returned = repr(self._returned(field.type))
        head = "def" if lazy else "async def"
        return f"{head} {python_name(name)}({', '.join(parameters)}) -> {returned}:"

    def _body(self, name: str, field: GraphQLField) -> Iterator[str]:
        if field.description:
            yield repr(field.description)
        if field.deprecation_reason is not None:
            message = f'Method "{python_name(name)}" is deprecated: {field.deprecation_reason}'
            yield f"warnings.warn({message!r}, DeprecationWarning, stacklevel=4)"
        arguments = ", ".join(_argument(*item) for item in field.args.items())
        yield f"_context = self._select({name!r}, [{arguments}])"
        target = get_named_type(field.type)
        if _is_lazy(field):
            yield f"return {self._client(target.name)}(_context)"
        elif isinstance(target, GraphQLObjectType):
            yield f"return await _context.execute_object_list({self._client(target.name)})"
        elif target.name == "Void":
            yield "await _context.execute()"
        else:
            yield f"return await _context.execute({self._returned(field.type)})"

    def _client(self, name: str) -> str:
        return f"_{name}Client" if name in self.schema.interfaces else name

    def _parameter(self, name: str, argument: GraphQLArgument) -> str:
        hint = _hint(argument.type, argument.extensions.get(EXPECTED))
        if is_required_argument(argument):
            return f"{python_name(name)}: {hint!r}"
        default = _default(argument)
        if isinstance(argument.default_value, list):
            default = "None"
        if default == "None" and not hint.endswith("| None"):
            hint = f"{hint} | None"
        return f"{python_name(name)}: {hint!r} = {default}"

    def _returned(self, graphql_type: Any) -> str:
        # A chain of calls goes on through an object that may be null.
        if isinstance(graphql_type, GraphQLObjectType):
            graphql_type = GraphQLNonNull(graphql_type)
        return _hint(graphql_type, None)


def _class(name: str, base: str, about: Iterable[str], body: Iterable[str]) -> Iterator[str]:
    yield f"class {name}({base}):" if base else f"class {name}:"
    yield from _indented([repr(text) for text in about if text])
    yield from _indented([*body, "pass"])
    yield ""


def _enum(made: GraphQLEnumType) -> Iterator[str]:
    members = [f"{name} = {value.extensions[VALUE]!r}" for name, value in made.values.items()]
    yield from _class(made.name, "Enum", [made.description or ""], members)


def _chained(made: GraphQLObjectType) -> Iterator[str]:
    """`with_`, for objects that have functions which return the same type."""
    if any(get_named_type(field.type) is made for field in made.fields.values() if _is_lazy(field)):
        hint = f"Callable[[{made.name}], {made.name}]"
        yield f"def with_(self, cb: {hint!r}) -> {made.name!r}:"
        yield "    return cb(self)"


def _is_lazy(field: GraphQLField) -> bool:
    """Whether a field gives an object, on which a chain of calls goes on."""
    inner = field.type.of_type if isinstance(field.type, GraphQLNonNull) else field.type
    return isinstance(inner, GraphQLObjectType)


def _argument(name: str, argument: GraphQLArgument) -> str:
    python = python_name(name)
    if is_required_argument(argument):
        return f"Arg({name!r}, {python})"
    default = _default(argument)
    given = python
    if isinstance(argument.default_value, list):
        given = f"{default} if {python} is None else {python}"
    return f"Arg({name!r}, {given}, {default})"


def _default(argument: GraphQLArgument) -> str:
    if argument.default_value is Undefined:
        return "None"
    target = get_named_type(argument.type)
    if isinstance(target, GraphQLEnumType) and isinstance(argument.default_value, str):
        names = [name for name, v in target.values.items() if v.value == argument.default_value]
        return f"{target.name}.{names[0]}" if names else "None"
    return repr(argument.default_value)


def _hint(graphql_type: Any, expected: str | None) -> str:
    if isinstance(graphql_type, GraphQLNonNull):
        inner = graphql_type.of_type
        if isinstance(inner, GraphQLList):
            return f"list[{_hint(inner.of_type, expected)}]"
        return expected or _BUILTIN.get(inner.name, inner.name)
    return f"{_hint(GraphQLNonNull(graphql_type), expected)} | None"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield f"    {line}"
