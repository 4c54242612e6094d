"""Validation of parsed queries: once for all that differ in their texts alone.

An SDK asks for hundreds of objects with the same few queries, each with other names, paths and ids.
What a string says decides nothing here (`ValuesOfCorrectTypeRule` is left to the resolvers), but
whether two strings are equal does: fields of one name must have the same arguments.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from graphql import (
    ASTValidationRule,
    GraphQLError,
    GraphQLSchema,
    KnownDirectivesRule,
    KnownFragmentNamesRule,
    NoFragmentCyclesRule,
    NoUndefinedVariablesRule,
    NoUnusedFragmentsRule,
    NoUnusedVariablesRule,
    PossibleFragmentSpreadsRule,
    TokenKind,
    UniqueDirectivesPerLocationRule,
    UniqueFragmentNamesRule,
    UniqueVariableNamesRule,
    ValuesOfCorrectTypeRule,
    VariablesAreInputTypesRule,
    VariablesInAllowedPositionRule,
    specified_rules,
    validate,
)
from graphql.validation import (
    DeferStreamDirectiveLabel,
    DeferStreamDirectiveOnRootField,
    DeferStreamDirectiveOnValidOperationsRule,
    StreamDirectiveOnListField,
)

from layerline.engine.api import request_limits as limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from graphql import DocumentNode, Token

_RULES = tuple(rule for rule in specified_rules if rule is not ValuesOfCorrectTypeRule)
# Rules about something that is written with a mark find nothing in a document without it. Each rule
# costs as much as any other, and the queries of SDKs have none of these marks, or `...` alone.
_RULES_OF_MARK: Mapping[str, frozenset[type[ASTValidationRule]]] = MappingProxyType(
    {
        "@": frozenset(
            {
                DeferStreamDirectiveLabel,
                DeferStreamDirectiveOnRootField,
                DeferStreamDirectiveOnValidOperationsRule,
                KnownDirectivesRule,
                StreamDirectiveOnListField,
                UniqueDirectivesPerLocationRule,
            }
        ),
        "$": frozenset(
            {
                NoUndefinedVariablesRule,
                NoUnusedVariablesRule,
                UniqueVariableNamesRule,
                VariablesAreInputTypesRule,
                VariablesInAllowedPositionRule,
            }
        ),
        "...": frozenset({KnownFragmentNamesRule, PossibleFragmentSpreadsRule}),
        "fragment": frozenset(
            {NoFragmentCyclesRule, NoUnusedFragmentsRule, UniqueFragmentNamesRule}
        ),
    }
)
_MOST_REMEMBERED = 256
_LONGEST_REMEMBERED = 8192
_valid: dict[tuple[GraphQLSchema, str], None] = {}


def find_errors(document: DocumentNode, shape: str, schema: GraphQLSchema) -> list[GraphQLError]:
    """What is wrong with a document of a shape."""
    needless = {rule for mark, them in _RULES_OF_MARK.items() if mark not in shape for rule in them}
    rules = [rule for rule in _RULES if rule not in needless]
    return validate(schema, document, rules, max_errors=limits.MOST_ERRORS)


def is_known(shape: str, schema: GraphQLSchema) -> bool:
    """Whether a document of this shape was valid."""
    return (schema, shape) in _valid


def remember(shape: str, schema: GraphQLSchema) -> None:
    """Take documents of this shape for valid from now on."""
    if len(shape) <= _LONGEST_REMEMBERED:
        if len(_valid) >= _MOST_REMEMBERED:
            _valid.clear()
        _valid[schema, shape] = None


def shape_of(text: str, literals: Iterable[Token]) -> str:
    """A document's text with a number in place of each of its strings; equal ones have the same.

    `literals` are the tokens of the strings, in their order.
    """
    parts: list[str] = []
    numbers: dict[tuple[TokenKind, str | None], int] = {}
    end = 0
    for token in literals:
        number = numbers.setdefault((token.kind, token.value), len(numbers))
        parts += [text[end : token.start], f'"{number}"']
        end = token.end
    return "".join([*parts, text[end:]])
