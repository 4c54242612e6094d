"""What a query would cost, from its text alone, so an expensive one is refused before it runs.

Counted as the executor works: fragments written out, selections of one name merged. The count ends
at the limit, so a query that would expand without bound is refused as fast as any other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLObjectType,
    InlineFragmentNode,
    OperationDefinitionNode,
)

from layerline.engine.api import request_limits as limits
from layerline.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from graphql import DocumentNode, GraphQLSchema, SelectionSetNode

_ABOUT_SCHEMA = ("__schema", "__type")


def is_about_schema(document: DocumentNode) -> bool:
    """Whether every operation selects `__schema` and `__type` only: no resolver is called."""
    chosen = [
        selection
        for definition in document.definitions
        if isinstance(definition, OperationDefinitionNode)
        for selection in definition.selection_set.selections
    ]
    return bool(chosen) and all(
        isinstance(selection, FieldNode) and selection.name.value in _ABOUT_SCHEMA
        for selection in chosen
    )


def check_cost(document: DocumentNode, schema: GraphQLSchema) -> None:
    """Raise QueryError for a query that exceeds the limits."""
    operations = [x for x in document.definitions if isinstance(x, OperationDefinitionNode)]
    fragments = [x for x in document.definitions if isinstance(x, FragmentDefinitionNode)]
    if len(operations) > limits.MOST_OPERATIONS:
        _refuse(f"more than {limits.MOST_OPERATIONS} operations")
    if len(fragments) > limits.MOST_FRAGMENTS:
        _refuse(f"more than {limits.MOST_FRAGMENTS} fragments")
    cost = _Cost(
        fragments={fragment.name.value: fragment for fragment in fragments},
        factors=_introspection_factors(schema),
        most_introspected=(
            limits.MOST_INTROSPECTED if is_about_schema(document) else limits.MOST_ALSO_INTROSPECTED
        ),
    )
    # A fragment is validated by itself as well, also one that nothing uses.
    for definition in (*operations, *fragments):
        cost.add(definition.selection_set)


@dataclass(slots=True, kw_only=True)
class _Set:
    """Selections that are answered as one object.

    `factor` is how many such objects there are, where that can be known: below `__schema` and
    `__type`; 0 elsewhere. `above` are the names of the lists that lead there.
    """

    parts: Sequence[SelectionSetNode]
    factor: float = 0
    above: frozenset[str] = frozenset()


@dataclass(slots=True, kw_only=True)
class _Cost:
    fragments: dict[str, FragmentDefinitionNode]
    factors: dict[str, tuple[float, float]]
    most_introspected: int
    selections: int = 0
    comparisons: int = 0
    introspected: float = 0
    _pending: list[_Set] = field(default_factory=list)

    def add(self, selection_set: SelectionSetNode) -> None:
        """Count a definition's selections, and all below."""
        self._pending.append(_Set(parts=[selection_set]))
        while self._pending:
            self._count(self._pending.pop())

    def _count(self, merged: _Set) -> None:
        by_name: dict[str, list[FieldNode]] = {}
        for node in self._fields(merged):
            name = (node.alias or node.name).value
            _check_names(node)
            same = by_name.setdefault(name, [])
            self._compare(len(same))
            same.append(node)
        for nodes in by_name.values():
            factor = self._factor(nodes[0].name.value, merged)
            below = [node.selection_set for node in nodes if node.selection_set is not None]
            if below:
                above = merged.above | (self.factors.keys() & {nodes[0].name.value})
                self._pending.append(_Set(parts=below, factor=factor, above=above))

    def _fields(self, merged: _Set) -> Iterator[FieldNode]:
        spread: set[str] = set()
        pending = list(merged.parts)
        while pending:
            for selection in pending.pop().selections:
                self.selections += 1
                if self.selections > limits.MOST_SELECTIONS:
                    _refuse(f"more than {limits.MOST_SELECTIONS} fields, with fragments expanded")
                if isinstance(selection, FieldNode):
                    yield selection
                elif isinstance(selection, InlineFragmentNode):
                    pending.append(selection.selection_set)
                elif isinstance(selection, FragmentSpreadNode):
                    name = selection.name.value
                    # Validation compares each two fragments of a set.
                    self._compare(len(spread))
                    if name not in spread and name in self.fragments:
                        spread.add(name)
                        pending.append(self.fragments[name].selection_set)

    def _compare(self, count: int) -> None:
        self.comparisons += count
        if self.comparisons > limits.MOST_COMPARISONS:
            _refuse("too many selections of the same name")

    def _factor(self, name: str, merged: _Set) -> float:
        if not merged.factor:
            return 1 if name in _ABOUT_SCHEMA else 0
        first, again = self.factors.get(name, (1, 1))
        factor = merged.factor * (again if name in merged.above else first)
        self.introspected += factor
        if self.introspected > self.most_introspected:
            _refuse("too much of the schema")
        return factor


def _check_names(node: FieldNode) -> None:
    names = [node.name, *(argument.name for argument in node.arguments or ())]
    if node.alias is not None:
        names.append(node.alias)
    for name in names:
        if len(name.value) > limits.LONGEST_NAME:
            _refuse(f"a name of more than {limits.LONGEST_NAME} characters")


def _introspection_factors(schema: GraphQLSchema) -> dict[str, tuple[float, float]]:
    """How many items the lists of introspection have: on average, and at most.

    In a list of all types the average is right. Where fields lead to types again it is not: most
    fields lead to the largest types.
    """
    types = [
        kind
        for kind in schema.type_map.values()
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType)
    ]
    fields = [len(kind.fields) for kind in types]
    arguments = [len(entry.args) for kind in types for entry in kind.fields.values()]
    count = len(schema.type_map)
    return {
        "types": (count, count),
        "fields": (sum(fields) / count, max(fields)),
        "args": (sum(arguments) / len(arguments), max(arguments)),
        "possibleTypes": (1, count),
        "directives": (len(schema.directives), len(schema.directives)),
    }


def _refuse(reason: str) -> NoReturn:
    message = f"the query is too expensive: it has {reason}; split it into several queries"
    raise QueryError(message)
