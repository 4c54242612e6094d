"""Answers as the wire has them: data or errors, never half of each."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from layerline.engine.api.execute import answer
from layerline.engine.api.server import serve_session
from layerline.engine.solve.keys import identity_of
from layerline.errors import QueryError, SecretError
from tests.unit.conftest import RootedProcess, ask, fail

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import OpenSession


async def test_what_has_no_resolver_is_refused_by_name(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        error = await fail(session, "{ llm { model } }")
        assert error["message"] == "Query.llm is not supported by the embedded engine"
        assert error["path"] == ["llm"]
        assert "extensions" not in error


async def test_one_error_leaves_no_data(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        error = await fail(
            session, '{ good: version directory { file(path: "nope") { contents } } }'
        )
        assert "no such file or directory" in error["message"]
        assert error["path"] == ["directory", "file"]


async def test_an_id_names_the_same_value_again(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        query = '{ container { withEnvVariable(name: "A", value: "1") { id } } }'
        first = (await ask(session, query))["container"]["withEnvVariable"]["id"]
        assert first == (await ask(session, query))["container"]["withEnvVariable"]["id"]
        got = await ask(
            session,
            'query($id: ID!) { node(id: $id) { id ... on Container { envVariable(name: "A") } } }',
            id=first,
        )
        assert got == {"node": {"id": first, "envVariable": "1"}}


async def test_an_id_of_another_type_is_refused(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        file_id = (await ask(session, '{ file(name: "f", contents: "x") { id } }'))["file"]["id"]
        error = await fail(
            session,
            f'{{ directory {{ withDirectory(path: "/", source: "{file_id}") {{ entries }} }} }}',
        )
        assert "expected Directory, got File" in error["message"]


async def test_numbers_and_enums_may_come_as_strings(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        got = await ask(
            session,
            '{ container { withExposedPort(port: "80", protocol: "UDP") '
            "{ exposedPorts { port protocol } } } }",
        )
        assert got["container"]["withExposedPort"]["exposedPorts"] == [
            {"port": 80, "protocol": "UDP"}
        ]


async def test_a_host_file_is_read_once_in_a_session(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    (tmp_path / "f").write_text("one")
    query = '{ host { file(path: "f") { contents } } }'
    async with open_a_session() as session:
        assert (await ask(session, query))["host"]["file"]["contents"] == "one"
        (tmp_path / "f").write_text("two")
        assert (await ask(session, query))["host"]["file"]["contents"] == "one"
    async with open_a_session() as session:
        assert (await ask(session, query))["host"]["file"]["contents"] == "two"


# On the Dagger engine they mean the client's own container; here they are refused.
OF_THE_HOST = [
    'host { unixSocket(path: "/run/socket") { id } }',
    "host { service(ports: [{backend: 22, frontend: 22}]) { id } }",
    'container { exportImage(name: "image") }',
    "engine { localCache { id } }",
]


@pytest.mark.parametrize("query", OF_THE_HOST)
async def test_neither_a_module_nor_a_nested_exec_reaches_the_host(
    open_a_session: OpenSession, tmp_path: Path, query: str
) -> None:
    async with open_a_session() as session:
        guest = session.admit(namespace="guest", process=RootedProcess.at(tmp_path))
        got = await answer(f"{{ {query} }}", session.call(guest))
        assert "only the main client can" in got.body["errors"][0]["message"]


# Recorded: conformance/next/nesting.json.
OF_ITS_CONTAINER = [
    ('host { directory(path: "/") { entries } }', {"host": {"directory": {"entries": ["marker"]}}}),
    ('host { file(path: "marker") { contents } }', {"host": {"file": {"contents": "inside"}}}),
    ('host { findUp(name: "marker") }', {"host": {"findUp": "marker"}}),
    ('secret(uri: "env://OWN") { plaintext }', {"secret": {"plaintext": "variable"}}),
    ('secret(uri: "file:///marker") { plaintext }', {"secret": {"plaintext": "inside"}}),
    (
        'address(value: "/marker") { file { contents } }',
        {"address": {"file": {"contents": "inside"}}},
    ),
    ('secret(uri: "env://TOKEN") { plaintext }', None),
    ('secret(uri: "file:///etc/passwd") { plaintext }', None),
    ('host { directory(path: "/etc") { entries } }', None),
]


@pytest.mark.parametrize(("query", "data"), OF_ITS_CONTAINER)
async def test_the_host_of_a_client_in_a_container_is_the_container(
    open_a_session: OpenSession, tmp_path: Path, query: str, data: object
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "marker").write_text("inside")
    async with open_a_session() as session:
        guest = session.admit(namespace="guest", process=RootedProcess.at(root, OWN="variable"))
        got = await answer(f"{{ {query} }}", session.call(guest))
        assert got.body["data"] == data


async def test_a_container_replaces_nobodys_secret(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    query = '{ one: secret(uri: "env://TOKEN?cacheKey=k") { plaintext } }'
    named = '{ setSecret(name: "n", plaintext: "%s") { plaintext } }'
    async with open_a_session() as session:
        guest = session.admit(namespace="guest", process=RootedProcess.at(tmp_path, TOKEN="theirs"))
        own = await ask(session, '{ secret(uri: "env://TOKEN?cacheKey=k") { id } }')
        mine = await ask(session, '{ setSecret(name: "n", plaintext: "mine") { id } }')
        await answer(query, session.call(guest))
        await answer(named % "theirs", session.call(guest))
        for kept, value in ((own["secret"]["id"], "t0ken"), (mine["setSecret"]["id"], "mine")):
            got = await ask(session, f'{{ loadSecretFromID(id: "{kept}") {{ plaintext }} }}')
            assert got["loadSecretFromID"]["plaintext"] == value


async def test_a_nested_exec_has_a_token_of_its_own_while_it_runs(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    async with open_a_session() as session, serve_session(session):
        process = RootedProcess.at(tmp_path)
        with session.admit_container(process, scope="key") as variables:
            token = variables["DAGGER_SESSION_TOKEN"]
            assert session.clients[token].process is process
            assert token != session.main.token
        assert token not in session.clients


async def test_a_secret_is_read_when_it_is_used(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        got = await ask(session, '{ secret(uri: "env://TOKEN") { plaintext uri } }')
        assert got["secret"] == {"plaintext": "t0ken", "uri": "env://TOKEN"}
        missing = await fail(session, '{ secret(uri: "env://NOWHERE") { plaintext } }')
        assert missing["message"] == 'secret env var not found: "NOW..."'


async def test_no_error_shows_a_secret(open_a_session: OpenSession) -> None:
    canary = "c4nary-0f-the-test"
    encoded = base64.b64encode(canary.encode()).decode()
    async with open_a_session() as session:
        await ask(session, f'{{ setSecret(name: "s", plaintext: "{canary}") {{ id }} }}')
        for text in (canary, encoded):
            error = await fail(
                session, f'{{ directory {{ file(path: "{text}") {{ contents }} }} }}'
            )
            assert "***" in error["message"]
            assert text not in str(error)


async def test_no_plaintext_is_written_to_the_store(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    canary = "c4nary-0f-the-test"
    async with open_a_session() as session:
        await ask(session, f'{{ setSecret(name: "s", plaintext: "{canary}") {{ id plaintext }} }}')
        await ask(session, f'{{ secret(uri: "cmd://printf {canary}") {{ plaintext }} }}')
    stored = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert stored
    assert not [path for path in stored if canary.encode() in path.read_bytes()]


async def test_a_deeply_nested_query_is_refused_or_answered(open_a_session: OpenSession) -> None:
    deep = "{ directory " + '{ directory(path: ".") ' * 30_000
    async with open_a_session() as session:
        got = await answer(deep, session.call())
        assert got.status == 422


async def test_callers_inside_get_the_failure_itself(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        missing = await answer('{ secret(uri: "env://NOWHERE") { plaintext } }', session.call())
        assert isinstance(missing.failure, SecretError)
        unknown = await answer("{ nothing }", session.call())
        assert isinstance(unknown.failure, QueryError)
        fine = await answer("{ version }", session.call())
        assert fine.failure is None


@pytest.mark.parametrize(
    "selection",
    [
        'withExec(args: ["true"], insecureRootCapabilities: true)',
        'withExec(args: ["true"], insecureRootCapabilities: true) { asService(args: ["x"])',
    ],
)
async def test_what_a_guest_runs_is_marked(
    open_a_session: OpenSession, tmp_path: Path, selection: str
) -> None:
    query = "{ container { %s { id } } }" + " }" * selection.count("{")
    async with open_a_session() as session:
        guest = session.admit(namespace="guest", process=RootedProcess.at(tmp_path))
        for client, marked in ((guest, True), (session.main, False)):
            # The id of a value is the same for both: each in a session of its own.
            session._values.clear()
            got = await answer(query % selection, session.call(client))
            found = got.body["data"]["container"]["withExec"]
            value = session.load(found.get("id") or found["asService"]["id"])
            op = value.last_exec if hasattr(value, "last_exec") else value.spec.exec.rootfs.exec
            assert op.guest is marked


@pytest.mark.parametrize(
    "query",
    [
        'setSecret(name: "tok", plaintext: "hush") { id }',
        'cacheVolume(key: "pip") { id }',
        "host { service(ports: [{backend: 22, frontend: 22}]) { id } }",
        'git(url: "https://example.com/r.git") { id }',
    ],
)
async def test_an_id_cannot_be_told_from_a_name(open_a_session: OpenSession, query: str) -> None:
    async with open_a_session() as session:
        got = await ask(session, f"{{ {query} }}")
        while isinstance(got, dict):
            (got,) = got.values()
        value = session.load(got)
        assert got != f"{value.typename}:{identity_of(value)}"
        assert session.identify(value) == got
    async with open_a_session() as later:  # what functions returned stays valid in the store
        assert later.identify(value) == got
