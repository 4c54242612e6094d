"""Objects of modules as values of the API: a state, and the type that it belongs to.

One module may have several names, one for each module that depends on it, and its types with it:
what an object's type is called is known only in the schema of a client.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerline.engine.api.objects import Value
from layerline.engine.module.naming import type_name
from layerline.engine.solve.keys import register
from layerline.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graphql import GraphQLResolveInfo

    from layerline.engine.module.definitions import Json

SERVED = "layerline.modules"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedNames:
    """What a schema calls the objects of modules.

    `objects` are names by the module's digest and the registered name; `interfaces` are the names
    of interfaces, which hold objects of any module.
    """

    objects: dict[tuple[str, str], str]
    interfaces: frozenset[str]


@register("ModuleObject")
@dataclass(frozen=True, kw_only=True)
class ModuleObject(Value):
    """An object of a module: the module by digest and name, its registered type, its state."""

    module: str
    module_name: str
    object: str
    state: str

    @property
    def typename(self) -> str:  # type: ignore[override]
        """The type's name under the module's own name."""
        return type_name(self.module_name, self.object)

    @property
    def fields(self) -> Json:
        """The state as its module returned it."""
        return json.loads(self.state)

    def typename_in(self, info: GraphQLResolveInfo[Any]) -> str:
        """The type's name in a query's schema, or the interface that the query takes it for."""
        served: ServedNames = info.schema.extensions[SERVED]
        wanted = served.interfaces.intersection(_conditions(info))
        if wanted:
            return min(wanted)
        name = served.objects.get((self.module, self.object))
        if name is None:
            message = (
                f"{self.typename} is not a type of this client: its module does not depend on it"
            )
            raise QueryError(message)
        return name


def module_object(module: str, module_name: str, object: str, state: Json) -> ModuleObject:
    """The object of a state; equal states are equal objects."""
    text = json.dumps(state, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return ModuleObject(module=module, module_name=module_name, object=object, state=text)


def _conditions(info: GraphQLResolveInfo[Any]) -> Iterator[str]:
    """The types that the query names for what a field returns."""
    from graphql import InlineFragmentNode

    for node in info.field_nodes:
        for selection in node.selection_set.selections if node.selection_set else ():
            if isinstance(selection, InlineFragmentNode) and selection.type_condition:
                yield selection.type_condition.name.value
