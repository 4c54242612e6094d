"""Answers about the schema are kept; all others are computed each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from graphql import parse

from layerline.engine.api import introspection
from layerline.engine.api.execute import Answer
from layerline.engine.api.query_cost import is_about_schema
from layerline.engine.store.store import Store
from layerline.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ABOUT_SCHEMA = "query I { __schema { queryType { name } } }"
GOT = Answer(body={"data": {}}, about_schema=True)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (ABOUT_SCHEMA, True),
        ("{ __schema { types { ...F } } } fragment F on __Type { name }", True),
        ("{ __schema { queryType { name } } version }", False),
        ("{ ...F } fragment F on Query { __schema { queryType { name } } }", False),
        ('{ __type(name: "Query") { name } }', True),
        ("{ version }", False),
    ],
)
def test_what_is_about_the_schema_alone(query: str, *, expected: bool) -> None:
    assert is_about_schema(parse(query)) == expected


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield opened


def test_the_same_request_gets_the_same_bytes(store: Store) -> None:
    introspection.remember(store.index, {"query": ABOUT_SCHEMA}, GOT, b'{"data": "\xc3\xa9"}')
    assert introspection.recall(store.index, {"query": ABOUT_SCHEMA}) == b'{"data": "\xc3\xa9"}'


@pytest.mark.parametrize(
    "other",
    [{"query": ABOUT_SCHEMA + " "}, {"query": ABOUT_SCHEMA, "variables": {"a": 1}}],
)
def test_another_request_does_not(store: Store, other: dict[str, Any]) -> None:
    introspection.remember(store.index, {"query": ABOUT_SCHEMA}, GOT, b"{}")
    assert introspection.recall(store.index, other) is None


@pytest.mark.parametrize(
    ("query", "got"),
    [
        ("{ __schema { queryType { name } } version }", Answer(body={"data": {}})),
        (ABOUT_SCHEMA, Answer(body={}, failure=QueryError("no"))),
    ],
)
def test_failures_and_other_answers_are_not_kept(store: Store, query: str, got: Answer) -> None:
    introspection.remember(store.index, {"query": query}, got, b"{}")
    assert introspection.recall(store.index, {"query": query}) is None


def test_strange_questions_do_not_make_the_store_grow(store: Store) -> None:
    for number in range(500):
        query = f"query Q{number} {{ __schema {{ queryType {{ name }} }} }}"
        introspection.remember(store.index, {"query": query}, GOT, query.encode())
        assert introspection.recall(store.index, {"query": query}) == query.encode()
    assert len(list(store.index.scan("introspection"))) <= 64
