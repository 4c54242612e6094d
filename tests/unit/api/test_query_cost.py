"""Queries that would cost others their time are refused from their text; what SDKs send is not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from graphql import get_introspection_query

from layerline.engine.api import request_limits as limits
from layerline.engine.api.execute import answer

if TYPE_CHECKING:
    from tests.unit.conftest import OpenSession


def repeat(pattern: str, count: int) -> str:
    return " ".join(pattern.replace("#", str(number)) for number in range(count))


def bomb(levels: int) -> str:
    """Fragments that double at each level: 2^levels fields (GHSA-fr49-mhgj-crfc and its kind)."""
    level = 'a: withUser(name: "a") { ...F% } b: withUser(name: "b") { ...F% }'
    fragments = "".join(
        f"fragment F{number} on Container {{ {level.replace('%', str(number + 1))} }} "
        for number in range(levels)
    )
    return f"{{ container {{ ...F0 }} }} {fragments} fragment F{levels} on Container {{ user }}"


EXPENSIVE = {
    "introspection-by-aliases": f"{{ {repeat('a#: __schema { types { name } }', 10_000)} }}",
    "few-aliases-of-much": f"{{ {repeat('a#: __schema { types { fields { name } } }', 200)} }}",
    "introspection-with-more": f"{{ version {repeat('a#: __schema { types { name } }', 100)} }}",
    "types-of-fields-of-types": "{ __schema { types { fields { type { fields { type { name } } } } "
    "fields { type { fields { args { name } } } } } } }",
    "aliases": f"{{ {repeat('a#: container { id }', 10_000)} }}",
    "fields-of-one-name": f"{{ {'version ' * 5_000} }}",
    "objects-of-one-name": f"{{ {'container { id } ' * 2_900} }}",
    "merged-below": f"{{ {'container { user user user user } ' * 200} }}",
    "fragments": f"{{ {repeat('...F#', 1_500)} }} "
    + repeat("fragment F# on Query { a#: version }", 1_500),
    "fragment-bomb": bomb(25),
    "unused-fragment-bomb": "query { version } " + bomb(25).partition("} }")[2],
    "fragments-in-a-circle": "{ ...A } fragment A on Query { ...B ...A } "
    "fragment B on Query { ...A ...B version }",
    "operations": repeat("query Q# { version }", 20_000),
    "long-names": f"{{ {repeat('n' * 50_000 + '#', 20)} }}",
    "unknown-fields": f"{{ {repeat('unknownField#', 20_000)} }}",
    "few-unknown-fields": f"{{ container {{ {repeat('withEnvVariabl#', 1_000)} }} }}",
    "tokens": "{" + "version " * 199_000 + "}",
}


@pytest.mark.parametrize("query", EXPENSIVE.values(), ids=EXPENSIVE.keys())
async def test_an_expensive_query_is_refused_at_once(
    open_a_session: OpenSession, query: str
) -> None:
    async with open_a_session() as session:
        await answer("{ version }", session.call())
        began = time.process_time()
        got = await answer(query, session.call())
        seconds = time.process_time() - began
    assert got.status == 422
    assert len(str(got.body)) < 100_000
    assert seconds < 1.5, "H-5 of reference/reliability.md: 1 s on a machine without other load"


async def test_the_limit_is_named(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        got = await answer(EXPENSIVE["aliases"], session.call())
        assert str(limits.MOST_SELECTIONS) in got.body["errors"][0]["message"]


@pytest.mark.parametrize("deprecated", [False, True])
async def test_the_full_schema_is_answered(
    open_a_session: OpenSession, *, deprecated: bool
) -> None:
    # gql and the SDKs of Dagger ask this; dagql's own codegen asks for directives as well.
    query = get_introspection_query(
        descriptions=True, directive_is_repeatable=True, input_value_deprecation=deprecated
    )
    async with open_a_session() as session:
        got = await answer(query, session.call())
        assert "errors" not in got.body
        assert got.about_schema


CHAINS = {
    "container": '{ container { withEnvVariable(name: "A", value: "b") % { user } } }',
    "directory": '{ directory { withNewFile(path: "a", contents: "b") % { id } } }',
}


@pytest.mark.parametrize("kind", CHAINS)
async def test_a_chain_of_5000_fields_is_answered(open_a_session: OpenSession, kind: str) -> None:
    """Each call of an SDK's chain is a level; graphql-core 3.3 alone refuses more than 200."""
    first = CHAINS[kind].partition("%")[0]
    root, call = first.split("{ ", 2)[1:]
    query = "{ " + root + ("{ " + call) * 5_000 + "{ id }" + " }" * 5_001
    async with open_a_session() as session:
        got = await answer(query, session.call())
        assert "errors" not in got.body


async def test_a_file_of_2_mb_is_written(open_a_session: OpenSession) -> None:
    query = 'query($c: String!) { directory { withNewFile(path: "a", contents: $c) { entries } } }'
    literal = query.replace("query($c: String!) ", "").replace("$c", '"' + "x" * 2_000_000 + '"')
    async with open_a_session() as session:
        for text, variables in ((query, {"c": "x" * 2_000_000}), (literal, None)):
            got = await answer(text, session.call(), variables=variables)
            assert got.body == {"data": {"directory": {"withNewFile": {"entries": ["a"]}}}}


DEEP = {
    "selections": "{ directory " + '{ directory(path: ".") ' * 7_000 + "{ id }" + "}" * 7_001,
    "a list": "{ container { withExec(args: " + "[" * 15_000 + "]" * 15_000 + ") { id } } }",
    "a type": "query($a: " + "[" * 15_000 + "Int" + "]" * 15_000 + ") { version }",
}


@pytest.mark.parametrize("query", DEEP.values(), ids=DEEP.keys())
async def test_deeper_text_is_refused(open_a_session: OpenSession, query: str) -> None:
    async with open_a_session() as session:
        got = await answer(query, session.call())
        assert got.status == 422
        assert "nested too deeply" in got.body["errors"][0]["message"]
