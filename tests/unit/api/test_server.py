"""The session server answers its own client on this machine, and nobody else."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpx
import pytest

from layerline.engine.api.server import serve_session
from layerline.engine.runtime.confined_process import ConfinedProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from layerline.engine.api.session import Session
    from tests.unit.conftest import OpenSession

QUERY = {"query": "{ version }"}


@contextlib.asynccontextmanager
async def open_client(
    open_a_session: OpenSession,
) -> AsyncIterator[tuple[Session, httpx.AsyncClient]]:
    async with open_a_session() as session, serve_session(session) as port:
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            yield session, client


async def test_the_token_is_the_user_name(open_a_session: OpenSession) -> None:
    async with open_client(open_a_session) as (session, client):
        answer = await client.post("/query", json=QUERY, auth=(session.main.token, ""))
        assert answer.json() == {"data": {"version": "v0.21.8"}}


@pytest.mark.parametrize("user", ["", "wrong", None])
async def test_no_answer_without_the_token(open_a_session: OpenSession, user: str | None) -> None:
    async with open_client(open_a_session) as (_session, client):
        request: dict[str, Any] = {} if user is None else {"auth": (user, "")}
        answer = await client.post("/query", json=QUERY, **request)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic")
        assert answer.json()["errors"]


@pytest.mark.parametrize("place", ["password", "query", "cookie", "prefix"])
async def test_the_token_counts_nowhere_else(open_a_session: OpenSession, place: str) -> None:
    async with open_client(open_a_session) as (session, client):
        token = session.main.token
        requests: dict[str, dict[str, Any]] = {
            "password": {"auth": ("x", token)},
            "query": {"params": {"token": token}},
            "cookie": {"headers": {"cookie": f"token={token}"}},
            "prefix": {"auth": (token[:-1], "")},
        }
        answer = await client.post("/query", json=QUERY, **requests[place])
        assert answer.status_code == 401


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"headers": {"host": "evil.example"}}, 403),
        ({"headers": {"origin": "http://evil.example"}}, 403),
        ({"headers": {"content-type": "text/plain"}}, 415),
        ({"method": "GET"}, 405),
        ({"content": b"{"}, 400),
        ({"content": b'{"q": 1}'}, 422),
        ({"content": b'{"query": 1}'}, 400),
        ({"content": b'{"query": "{ version }", "variables": 3}'}, 400),
    ],
)
async def test_what_a_web_page_could_send_is_refused(
    open_a_session: OpenSession, change: dict[str, Any], status: int
) -> None:
    async with open_client(open_a_session) as (session, client):
        headers = {"content-type": "application/json"} | change.pop("headers", {})
        request = {"method": "POST", "content": b'{"query": "{ version }"}'} | change
        answer = await client.request(
            url="/query", headers=headers, auth=(session.main.token, ""), **request
        )
        assert answer.status_code == status
        assert answer.json()["errors"][0]["message"]


async def test_a_token_is_worth_nothing_once_dismissed(open_a_session: OpenSession) -> None:
    async with open_client(open_a_session) as (session, client):
        guest = session.admit(namespace="guest", process=ConfinedProcess(environ={}, cwd="/"))
        assert (await client.post("/query", json=QUERY, auth=(guest.token, ""))).status_code == 200
        session.dismiss(guest)
        assert (await client.post("/query", json=QUERY, auth=(guest.token, ""))).status_code == 401


async def test_an_invalid_document_is_422_with_a_code(open_a_session: OpenSession) -> None:
    async with open_client(open_a_session) as (session, client):
        for query, code in (
            ("{ nope }", "GRAPHQL_VALIDATION_FAILED"),
            ("{", "GRAPHQL_PARSE_FAILED"),
        ):
            answer = await client.post(
                "/query", json={"query": query}, auth=(session.main.token, "")
            )
            assert answer.status_code == 422
            assert answer.json()["errors"][0]["extensions"] == {"code": code}


async def test_the_schema_is_answered_with_the_same_bytes(open_a_session: OpenSession) -> None:
    query = {"query": "{ __schema { types { name } } }"}
    answers = []
    for _ in range(2):
        async with open_client(open_a_session) as (session, client):
            answers.append(await client.post("/query", json=query, auth=(session.main.token, "")))
    assert answers[0].content == answers[1].content
    assert answers[0].json()["data"]["__schema"]["types"]


async def test_a_further_socket_is_served_until_its_context_ends(
    open_a_session: OpenSession,
) -> None:
    async with open_a_session() as session, serve_session(session):
        auth = (session.main.token, "")

        def ask_there() -> tuple[str, int]:
            listener = socket.create_server(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port)) as idle:
                idle.settimeout(30)
                with session.serve(listener):
                    answer = httpx.post(f"http://127.0.0.1:{port}/query", json=QUERY, auth=auth)
                    assert answer.json() == {"data": {"version": "v0.21.8"}}
                    idle.sendall(b"POST /query HTTP/1.1\r\n")
                with contextlib.suppress(ConnectionResetError):
                    assert idle.recv(1) == b""
            return "127.0.0.1", port

        address = await anyio.to_thread.run_sync(ask_there)
        with pytest.raises(OSError, match=r"refused|All connection attempts failed"):
            await anyio.connect_tcp(*address)
        url = f"http://127.0.0.1:{session.port}"
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            assert (await client.post("/query", json=QUERY, auth=auth)).status_code == 200
