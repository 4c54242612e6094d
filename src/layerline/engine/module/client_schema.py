"""The schema of one client: that of the core, and the modules that the client may use.

The process of a function is served what its module depends on, under the names by which the module
calls it, and the types of the module itself; the types of the core are shared by all schemas.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
)

from layerline.engine.api.fields import OLD_FIELDS
from layerline.engine.api.schema import (
    expected_type,
    in_turn,
    schema_of_view,
    served_schema,
)
from layerline.engine.module.api_types import EXPECTED, ModuleTypes
from layerline.engine.module.bindings import HIDDEN
from layerline.engine.module.definitions import Function
from layerline.engine.module.naming import lower_camel
from layerline.engine.module.objects import SERVED, ModuleObject, ServedNames
from layerline.engine.module.types import own_members, reference
from layerline.engine.store.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from graphql import GraphQLNamedType, GraphQLResolveInfo

    from layerline.engine.module.calls import Caller
    from layerline.engine.module.definitions import InterfaceTypeDef, Json, Module, ObjectTypeDef

    Info = GraphQLResolveInfo[Any]


_EPOCH = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModule:
    """A module in a client's schema, called `alias`; with `at_root` it can be made there."""

    alias: str
    caller: Caller
    definition: Module
    at_root: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClientSchema:
    """A schema and its digest.

    `roots` and `types` are what modules at the root add to the core, `interfaces` are the names of
    all interfaces. `old` are the fields that the view of an old engine has instead, by their types.
    """

    digest: str
    schema: GraphQLSchema
    roots: dict[str, GraphQLField]
    types: dict[str, GraphQLNamedType]
    interfaces: frozenset[str]
    old: dict[str, dict[str, GraphQLField]] = field(default_factory=dict)

    @property
    def served(self) -> tuple[str, GraphQLSchema]:
        """What a client of the session is admitted with."""
        return self.digest, self.schema


def client_schema(
    modules: Sequence[ServedModule], entrypoint: ServedModule | None = None, *, engine: str = ""
) -> ClientSchema:
    """The schema for modules; functions of an entrypoint's main object are fields of the root.

    `engine` is the version of the engine that the client was written for.
    """
    view = schema_of_view(engine)
    core = view[1] if view else served_schema()
    query = core.query_type
    assert query is not None
    kept = {k: t for k, t in core.type_map.items() if t is not query and not k.startswith("__")}
    typed = [_types_of(each, kept) for each in modules]
    for types in typed:
        types.make_all()
    made: dict[str, GraphQLNamedType] = {}
    for types in typed:
        made.update(types.made)
    _add_conversions(typed)
    roots: dict[str, GraphQLField] = {}
    shown: dict[str, GraphQLNamedType] = {}
    for module, types in zip(modules, typed, strict=True):
        if module.at_root:
            shown.update(types.made)
            roots.update(_loaders(types))
            roots[lower_camel(module.alias)] = types.function(*_constructor(module))
        if module is entrypoint:
            roots.update(_lifted(module, types))
    schema = GraphQLSchema(
        query=GraphQLObjectType(
            query.name, fields={**query.fields, **roots}, interfaces=query.interfaces
        ),
        types=[*kept.values(), *made.values()],
        directives=core.directives,
        assume_valid=True,
        extensions={SERVED: _names(modules, typed)},
    )
    return ClientSchema(
        digest=digest_of(_identity(modules, entrypoint, view[0] if view else "")),
        schema=schema,
        roots=roots,
        types=shown,
        interfaces=schema.extensions[SERVED].interfaces,
        old=_old_fields(core) if view else {},
    )


def _identity(
    modules: Sequence[ServedModule], entrypoint: ServedModule | None, view: str
) -> list[object]:
    return [
        _EPOCH,
        *([view] if view else ()),
        *([m.alias, m.caller.module.digest, m.at_root, m is entrypoint] for m in modules),
    ]


def _old_fields(core: GraphQLSchema) -> dict[str, dict[str, GraphQLField]]:
    """The fields of old views, of the types that modules can use."""
    found: dict[str, dict[str, GraphQLField]] = {}
    for owner, name in OLD_FIELDS:
        described = core.type_map[owner]
        if isinstance(described, GraphQLObjectType) and owner not in HIDDEN:
            found.setdefault(owner, {})[name] = described.fields[name]
            for argument in described.fields[name].args.values():
                argument.extensions = {EXPECTED: expected_type(argument)}
    return found


def _types_of(served: ServedModule, core: dict[str, GraphQLNamedType]) -> ModuleTypes:
    def resolver(owner: str, function: Function, is_field: bool) -> Callable[..., Any]:  # noqa: FBT001
        return in_turn(_member_resolver(served, owner, function, is_field=is_field))

    return ModuleTypes(
        alias=served.alias,
        definition=served.definition,
        original=served.caller.module.name,
        core=core,
        resolver=resolver,
    )


def _names(modules: Sequence[ServedModule], typed: Sequence[ModuleTypes]) -> ServedNames:
    objects = {
        (module.caller.module.digest, item.as_object.name): types.api_name(item.as_object.name)
        for module, types in zip(modules, typed, strict=True)
        for item in module.definition.objects
        if item.as_object is not None
    }
    return ServedNames(
        objects=objects, interfaces=frozenset(name for name, _ in _interfaces(typed))
    )


def _interfaces(typed: Sequence[ModuleTypes]) -> Iterator[tuple[str, InterfaceTypeDef]]:
    for types in typed:
        for item in types.definition.interfaces:
            if item.as_interface is not None:
                yield types.api_name(item.as_interface.name), item.as_interface


def _constructor(served: ServedModule) -> tuple[str, Function]:
    """The main object's registered name, and what makes one."""
    main = served.caller.module.types(served.definition).main_object()
    made = main.constructor or Function(name="", return_type=reference(main.name))
    if not made.description:
        made = Function(
            name="", return_type=made.return_type, args=made.args, description=main.description
        )
    return main.name, made


def _lifted(served: ServedModule, types: ModuleTypes) -> Iterator[tuple[str, GraphQLField]]:
    main = served.caller.module.types(served.definition).main_object()
    owner, constructor = _constructor(served)
    yield "with", types.function(owner, constructor)
    for member in own_members(main):
        field = types.function(owner, member.function, is_field=member.is_field)
        plain = field.resolve
        assert plain is not None
        field.resolve = _on_main_object(served, plain)
        yield member.api_name, field


def _on_main_object(served: ServedModule, resolve: Callable[..., Any]) -> Callable[..., Any]:
    """The resolver of a main object's member, on one that is made without arguments."""

    async def resolve_lifted(_root: Any, info: Info, /, **arguments: Any) -> Any:
        made = await served.caller.invoke(*_constructor(served), None, {})
        found = resolve(made, info, **arguments)
        return await found if hasattr(found, "__await__") else found

    return resolve_lifted


def _member_resolver(
    served: ServedModule, owner: str, function: Function, *, is_field: bool
) -> Callable[..., Any]:
    interface = any(
        item.as_interface is not None and item.as_interface.name == owner
        for item in served.definition.interfaces
    )

    def resolve(value: Any, info: Info, /, **arguments: Any) -> Any | Awaitable[Any]:
        if interface:
            return _resolve_of_interface(value, info, lower_camel(function.name), arguments)
        return _resolve_member(served.caller, owner, function, value, arguments, is_field=is_field)

    return resolve


def _resolve_member(
    caller: Caller,
    owner: str,
    function: Function,
    value: Any,
    arguments: dict[str, Any],
    *,
    is_field: bool,
) -> Any | Awaitable[Any]:
    state: Json = value.fields if isinstance(value, ModuleObject) else {}
    if is_field:
        return caller.conversion.result(function.return_type, state[function.name])
    names = {lower_camel(arg.name): arg.name for arg in function.args}
    given = {names[name]: argument for name, argument in arguments.items()}
    return caller.invoke(owner, function, state if function.name else None, given)


def _resolve_of_interface(
    value: ModuleObject, info: Info, name: str, arguments: dict[str, Any]
) -> Awaitable[Any]:
    """The member of that name of the object that is behind the interface."""
    caller: Caller = info.context.session.modules[value.module]
    return caller.call_member(value, name, arguments)


def _loaders(types: ModuleTypes) -> Iterator[tuple[str, GraphQLField]]:
    """`loadFooFromID` for each object and interface."""
    for name, made in types.made.items():
        if not isinstance(made, GraphQLObjectType):
            continue

        def load(_root: Any, info: Info, id: str) -> Any:
            return info.context.session.load(id)

        argument = GraphQLArgument(GraphQLNonNull(types.made[f"{name}ID"]))  # type: ignore[arg-type]
        yield (
            f"load{name}FromID",
            GraphQLField(GraphQLNonNull(made), args={"id": argument}, resolve=load),
        )


def _add_conversions(typed: Sequence[ModuleTypes]) -> None:
    """Give objects `asFoo` for each interface Foo whose functions they have."""
    interfaces = list(_interfaces(typed))
    made = {name: each for types in typed for name, each in types.made.items()}
    for types in typed:
        for item in types.definition.objects:
            if item.as_object is None:
                continue
            owner = made[types.api_name(item.as_object.name)]
            assert isinstance(owner, GraphQLObjectType)
            for name, interface in interfaces:
                if _implements(item.as_object, interface):
                    target = made[name]
                    owner.fields[f"as{name}"] = GraphQLField(
                        GraphQLNonNull(target),  # type: ignore[arg-type]
                        resolve=lambda value, _info: value,
                        description=f"Converts this {owner.name} to a {name}.",
                    )


def _implements(shape: ObjectTypeDef, interface: InterfaceTypeDef) -> bool:
    """Whether an object has every function of an interface, with the same kinds of result."""
    kinds = {member.api_name: member.function.return_type.kind for member in own_members(shape)}
    return all(
        kinds.get(lower_camel(wanted.name)) == wanted.return_type.kind
        or (
            wanted.return_type.kind == "INTERFACE_KIND"
            and kinds.get(lower_camel(wanted.name)) == "OBJECT_KIND"
        )
        for wanted in interface.functions
    )
