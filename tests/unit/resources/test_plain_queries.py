"""A query of a module's SDK is the text that the SDK itself would make of it by the schema."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dagger.client import _core, _session
from gql.dsl import DSLQuery, DSLSchema, dsl_gql
from graphql import parse, print_ast

from layerline.engine.api.schema import served_schema
from layerline.engine.module.bindings import with_plain_queries, without_schema
from layerline.resources.plain_queries import query_of

if TYPE_CHECKING:
    from collections.abc import Sequence

Field = _core.Field
CORE, SESSION = (Path(str(each.__file__)).read_text() for each in (_core, _session))
TEXT = 'a "quoted" \\ text\n\tof é 😀\x7f\u2028'
CHAINS: list[list[Any]] = [
    [Field("Query", "version", {})],
    [
        Field("Query", "container", {}),
        Field("Container", "withExec", {"args": ["sh", TEXT], "useEntrypoint": True}),
        Field("Container", "withMountedCache", {"path": "/c", "cache": "CacheVolume:1"}),
        Field("Container", "stdout", {}),
    ],
    [
        Field("Query", "node", {"id": "Directory:1"}, inline_type="Directory"),
        Field("Directory", "filter", {"include": [], "exclude": ["*", "!a"]}),
        Field("Directory", "id", {}),
    ],
    [
        Field("Query", "directory", {}),
        Field("Directory", "dockerBuild", {"buildArgs": [{"name": "A", "value": TEXT}]}),
        Field("Container", "withExposedPort", {"port": 80}),
        Field("Container", "envVariables", {}, {"id": Field("EnvVariable", "id", {})}),
    ],
    [
        Field(
            "Query",
            "currentFunctionCall",
            {},
            {
                "name": Field("FunctionCall", "name", {}),
                "of": Field("FunctionCall", "parentName", {}),
            },
        )
    ],
]


@pytest.mark.parametrize("chain", CHAINS)
def test_the_query_is_that_of_the_sdk(chain: Sequence[Any]) -> None:
    root = chain[-1]
    for field in reversed(chain[:-1]):
        root = field.add_child(root)
    wanted = dsl_gql(DSLQuery(root.to_dsl(DSLSchema(served_schema())))).document
    # The SDK writes an alias for each field, `name: name`.
    assert print_ast(parse(query_of(chain))) == re.sub(r"\b(\w+): \1\b", r"\1", print_ast(wanted))


async def test_the_sdk_with_it_asks_so_and_without_a_schema(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    core = _adapted(monkeypatch, with_plain_queries(CORE))
    args = [core.Arg("name", "A"), core.Arg("value", TEXT)]
    chosen = core.Context().select("Query", "container", []).select("Container", "withEnv", args)
    request = await chosen.request()
    assert request.payload["query"].startswith('{ container { withEnv(name: "A", value: "a \\"')
    assert print_ast(request.document) == print_ast(parse(request.payload["query"]))
    for _ in range(1000):  # an error has the document; more levels than graphql-core parses
        chosen = chosen.select("Container", "withEnv", args)
    assert print_ast((await chosen.request()).document) == ""
    session = _adapted(monkeypatch, without_schema(SESSION))
    params = session.ConnectParams(port=1, session_token="")
    made = session.ClientSession(params, session.ConnectConfig(retry=None))
    assert made.client.fetch_schema_from_transport is False


def _adapted(monkeypatch: pytest.MonkeyPatch, source: str) -> Any:  # noqa: ANN401
    adapted = types.ModuleType("dagger.client.adapted")
    adapted.__package__ = "dagger.client"
    monkeypatch.setitem(sys.modules, adapted.__name__, adapted)  # dataclasses look there
    exec(compile(source, "adapted.py", "exec"), vars(adapted))
    return adapted
