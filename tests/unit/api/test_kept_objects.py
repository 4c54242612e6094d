"""An id of one session is good in the next; what is of one session is not kept."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from layerline.engine.api.execute import answer
from layerline.engine.api.schema import served_schema

if TYPE_CHECKING:
    from layerline.engine.api.session import Session
    from tests.unit.conftest import OpenSession


async def ask(session: Session, query: str) -> dict[str, Any]:
    session.keeps_ids = True
    body = (await answer(query, session.call())).body
    found: dict[str, Any] = body["data"] or body["errors"][0]
    return found


async def test_a_directory_of_an_earlier_session(open_a_session: OpenSession) -> None:
    """Recorded: conformance/next/nesting.json, id-of-an-earlier-session."""
    made = '{ directory { withNewFile(path: "a", contents: "b") { id } } }'
    async with open_a_session() as session:
        name = json.dumps((await ask(session, made))["directory"]["withNewFile"]["id"])
    async with open_a_session() as session:
        found = await ask(session, f"{{ loadDirectoryFromID(id: {name}) {{ entries }} }}")
        assert found == {"loadDirectoryFromID": {"entries": ["a"]}}
        wrong = await ask(session, f"{{ loadFileFromID(id: {name}) {{ size }} }}")
        assert "expected File, got Directory" in wrong["message"]


async def test_a_secret_is_of_its_session(open_a_session: OpenSession) -> None:
    made = '{ setSecret(name: "s", plaintext: "hush") { id } }'
    async with open_a_session() as session:
        secret = (await ask(session, made))["setSecret"]["id"]
        given = f'withSecretVariable(name: "S", secret: {json.dumps(secret)}) {{ id }}'
        holder = (await ask(session, f"{{ container {{ {given} }} }}"))["container"]
    async with open_a_session() as session:
        for name in (secret, holder["withSecretVariable"]["id"]):
            found = await ask(session, f"{{ node(id: {json.dumps(name)}) {{ id }} }}")
            assert "no object has the id" in found["message"]


async def test_what_is_no_id_is_said(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        for name in ("", "x", "Directory:", "Directory:zz"):
            found = await ask(session, f"{{ node(id: {json.dumps(name)}) {{ id }} }}")
            assert "no object has the id" in found["message"]


def test_void_is_null() -> None:
    """As dagql answers exportImage, whose type is `Void!`."""
    fields = [
        field
        for made in served_schema().type_map.values()
        for field in getattr(made, "fields", {}).values()
    ]
    assert "Void!" not in {str(field.type) for field in fields}
    assert "Void" in {str(field.type) for field in fields}


async def test_an_object_that_holds_a_secret_in_any_form_is_not_kept(
    open_a_session: OpenSession,
) -> None:
    secret = "a long and secret value"
    encoded = base64.b64encode(secret.encode()).decode()
    async with open_a_session() as session:
        await ask(session, f'{{ setSecret(name: "s", plaintext: "{secret}") {{ id }} }}')
        made = f'{{ directory {{ withNewFile(path: "a", contents: "{encoded}") {{ id }} }} }}'
        name = json.dumps((await ask(session, made))["directory"]["withNewFile"]["id"])
        root = session.store.root
    assert not any(encoded.encode() in path.read_bytes() for path in root.glob("index.db*"))
    async with open_a_session() as session:
        found = await ask(session, f"{{ loadDirectoryFromID(id: {name}) {{ entries }} }}")
        assert "message" in found
