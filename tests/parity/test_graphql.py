"""The wire: statuses, invalid bodies, variables, fragments, directives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.parity.conftest import ParitySession

pytestmark = pytest.mark.privileged

INVALID = "GRAPHQL_VALIDATION_FAILED"


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"nonsense", 400, "json request body could not be decoded"),
        (b"[]", 400, "json request body could not be decoded"),
        (b'{"query": 5}', 400, "json request body could not be decoded"),
        (b"{}", 422, "no operation provided"),
        (b'{"query": ""}', 422, "no operation provided"),
        ({"query": "{ nope }"}, 422, 'Cannot query field "nope" on type "Query"'),
        ({"query": "{ container }"}, 422, "must have a selection of subfields"),
        ({"query": "query($n: String!) { version }"}, 422, 'Variable "$n" is never used'),
        (
            {"query": "query($n: String!) { container { withUser(name: $n) { user } } }"},
            422,
            "$n",
        ),
        ({"query": "query A { version }", "operationName": "B"}, 422, "B"),
        ({"query": "query A { version } query B { version }"}, 422, "operation"),
    ],
)
def test_an_invalid_request_has_a_status_of_its_own(
    session: ParitySession, body: bytes | dict[str, Any], status: int, message: str
) -> None:
    """gqlgen, which the Dagger engine serves with, answers 400 and 422 like this."""
    answer = session.post(body)
    assert answer.status_code == status
    error = answer.json()["errors"][0]
    assert message in error["message"]
    assert status == 400 or error["extensions"]["code"] == INVALID


@pytest.mark.parametrize(
    ("query", "variables", "answer"),
    [
        ("{ ...F } fragment F on Query { v: version @skip(if: true) __typename }", {}, "Query"),
        (
            "query($yes: Boolean!) { version @skip(if: $yes) defaultPlatform @include(if: $yes) }",
            {"yes": True},
            "linux/amd64",
        ),
        (
            "query($a: [String!]!) { container { withEntrypoint(args: $a) { entrypoint } } }",
            {"a": "alone"},
            ["alone"],
        ),
        (
            "query($p: NetworkProtocol!) { container { withExposedPort(port: 53, protocol: $p) "
            "{ exposedPorts { protocol } } } }",
            {"p": "UDP"},
            [{"protocol": "UDP"}],
        ),
        ("{ container { ... on Node { __typename } } }", {}, "Container"),
        ("{ version version }", {}, "v0.21.8"),
    ],
)
def test_what_a_document_may_hold(
    session: ParitySession, query: str, variables: dict[str, Any], answer: object
) -> None:
    assert session.answer(query, variables) == answer


def test_an_error_has_the_path_by_alias_and_no_data(session: ParitySession) -> None:
    error = session.error('{ b: directory { f: file(path: "x") { size } } }')
    assert error["path"][:2] == ["b", "f"]
    assert "extensions" not in error
