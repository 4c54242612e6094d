"""What clients of old SDKs find: `View(BeforeVersion("v0.19.0"))` in Dagger v0.21.8."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerline.engine.api.execute import answer
from layerline.engine.api.schema import schema_of_view
from tests.unit.conftest import ask, fail

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import OpenSession

OLD = """query Q($id: ID!) {
  directory { withDirectory(path: "d", directory: $id) { glob(pattern: "**") } }
  container { withDirectory(path: "/d", directory: $id) { rootfs { glob(pattern: "**") } } }
  host { setSecretFile(name: "s", path: "s.txt") { plaintext } }
}"""


async def test_an_old_client_uses_the_old_names(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    (tmp_path / "s.txt").write_text("hush")
    async with open_a_session() as session:
        made = '{ directory { withNewFile(path: "f", contents: "") { id } } }'
        folder = (await ask(session, made))["directory"]["withNewFile"]["id"]
        session.main.schema = schema_of_view("0.18.19")
        found = await ask(session, OLD, id=folder)
    files = {"glob": ["d/", "d/f"]}
    assert found == {
        "directory": {"withDirectory": files},
        "container": {"withDirectory": {"rootfs": files}},
        "host": {"setSecretFile": {"plaintext": "hush"}},
    }


async def test_a_secret_of_a_file_that_is_not_text(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    (tmp_path / "s.txt").write_bytes(b"\xff")
    async with open_a_session() as session:
        session.main.schema = schema_of_view("0.18.19")
        error = await fail(session, '{ host { setSecretFile(name: "s", path: "s.txt") { id } } }')
    assert error["message"].startswith(f"open {tmp_path}/s.txt: not UTF-8 text")
    assert error["message"].endswith(": name a file of text that you may read")


async def test_an_old_client_builds_by_the_old_name(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        made = """query Q($text: String!) {
          directory { withNewFile(path: "Dockerfile", contents: $text) { id } }
        }"""
        answered = await ask(session, made, text="FROM scratch\nENV A=b")
        folder = answered["directory"]["withNewFile"]["id"]
        session.main.schema = schema_of_view("v0.18.0")
        query = 'query Q($id: ID!) { container { build(context: $id) { envVariable(name: "A") } } }'
        assert await ask(session, query, id=folder) == {
            "container": {"build": {"envVariable": "b"}}
        }


async def test_a_new_client_does_not(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        got = await answer(OLD, session.call(), variables={"id": "x"})
    assert got.status == 422
    assert 'Unknown argument "directory"' in got.body["errors"][0]["message"]


@pytest.mark.parametrize("version", ["", "0.19.0", "v0.21.8", "1.0.0-beta.14", "v1000.0.0", "n/a"])
def test_everybody_else_is_served_the_same(version: str) -> None:
    assert schema_of_view(version) is None
