"""A query is validated once for all that differ in their strings, and as graphql-core does it."""

from __future__ import annotations

import pytest
from graphql import (
    DocumentNode,
    GraphQLSyntaxError,
    Lexer,
    Source,
    TokenKind,
    ValuesOfCorrectTypeRule,
    parse,
    specified_rules,
    validate,
)

from layerline.engine.api.query_document import parse_text
from layerline.engine.api.query_validation import find_errors, is_known, shape_of
from layerline.engine.api.schema import served_schema

# What each rule is about, wrong: the rules that are left out where a text has no mark of theirs.
INVALID = [
    "{ nope }",
    "{ version @nope }",
    "{ version @skip(if: true) @skip(if: false) }",
    "{ version @skip }",
    "{ directory { ...A } }",
    "{ ...A } fragment A on Query { version } fragment A on Query { defaultPlatform }",
    "{ version } fragment A on Query { version }",
    "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
    "{ ... on File { size } }",
    "{ ... on Nope { size } }",
    "query($a: Nope) { version }",
    "query($a: String!, $a: String!) { directory { file(path: $a) { size } } }",
    "query($a: Int!) { directory { file(path: $a) { size } } }",
    "query($a: Directory!) { version }",
    "{ directory { file(path: $a) { size } } }",
    "{ directory { file { size } } }",
    '{ directory { file(path: "a", path: "b") { size } } }',
    '{ directory { file(path: "a", nope: "b") { size } } }',
    "{ directory }",
    "{ version { x } }",
    "{ a: version a: defaultPlatform }",
    "query A { version } query A { version }",
    "{ version } query A { version }",
]


@pytest.mark.parametrize("text", INVALID)
def test_the_errors_are_those_of_all_rules(text: str) -> None:
    schema, document = served_schema(), parse(text)
    rules = [rule for rule in specified_rules if rule is not ValuesOfCorrectTypeRule]
    wanted = [each.message for each in validate(schema, document, rules)]
    assert wanted
    assert [each.message for each in find_errors(document, shape(text), schema)] == wanted
    assert not is_known(shape(text), schema)


def test_queries_that_differ_in_their_strings_are_validated_once() -> None:
    schema = served_schema()
    query = '{{ directory {{ withNewFile(path: "{}", contents: "{}") {{ digest }} }} }}'
    first, second, same = query.format("a", "1"), query.format("b", '2\\"'), query.format("a", "a")
    assert parse_text(first, schema).node is not None
    assert is_known(shape(second), schema)
    assert not is_known(shape(same), schema)


def test_the_same_text_twice_is_not_the_same_as_two() -> None:
    schema = served_schema()
    query = '{{ directory {{ file(path: "{}") {{ size }} file(path: "{}") {{ name }} }} }}'
    assert parse_text(query.format("a", "a"), schema).node is not None
    assert parse_text(query.format("a", "\\u0061"), schema).node is not None
    (error,) = parse_text(query.format("a", "b"), schema).errors
    assert "conflict" in error.message


STRINGS = [
    '""',
    r'"a\n\"\\\/\b\f\r\t"',
    r'"é \u00e9 \u{1F600} 😀"',
    '"""a\n  "b" \\""" c"""',
    '"\x7f\t\x00"',
    r'"\x"',
    '"a\nb"',
    '"\ud800"',
    '"a',
    '"a\\',
    r'"\u12"',
]


@pytest.mark.parametrize("text", STRINGS)
def test_strings_are_read_as_by_the_library(text: str) -> None:
    query = f"{{ directory {{ file(path: {text}) {{ size }} }} }}"
    found = parse_text(query, served_schema())
    assert (found.node, [each.message for each in found.errors]) == read_by_the_library(query)


def read_by_the_library(query: str) -> tuple[DocumentNode | None, list[str]]:
    try:
        return parse(query), []
    except GraphQLSyntaxError as exc:
        return None, [exc.message]


def shape(text: str) -> str:
    lexer = Lexer(Source(text))
    literals = []
    while (token := lexer.advance()).kind != TokenKind.EOF:
        if token.kind in {TokenKind.STRING, TokenKind.BLOCK_STRING}:
            literals.append(token)
    return shape_of(text, literals)
