"""Env files: variables in order, set, taken away, and given to containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.conftest import ask

if TYPE_CHECKING:
    from tests.unit.conftest import OpenSession

TEXT = "# comment\\n\\nA='one'\\nmy_app_B=$A-two\\nA=\\\"1\\\"\\n"


async def test_a_file_is_read(open_a_session: OpenSession) -> None:
    query = f"""{{ file(name: ".env", contents: "{TEXT}") {{ asEnvFile {{
      variables {{ name value }} raw: get(name: "A", raw: true) exists(name: "C")
      namespace(prefix: "my-app") {{ variables {{ name value }} }}
      withoutVariable(name: "A") {{ asFile {{ name contents }} }} }} }} }}"""
    async with open_a_session() as session:
        found = (await ask(session, query))["file"]["asEnvFile"]
    assert [tuple(each.values()) for each in found["variables"]] == [
        ("A", "1"),
        ("my_app_B", "1-two"),
    ]
    assert found["raw"] == '"1"'
    assert found["exists"] is False
    assert found["namespace"]["variables"] == [{"name": "B", "value": "1-two"}]
    assert found["withoutVariable"]["asFile"] == {"name": ".env", "contents": "my_app_B=$A-two\n"}


async def test_the_host_s_variables_may_be_referred_to(open_a_session: OpenSession) -> None:
    query = '{ envFile { withVariable(name: "A", value: "<$TOKEN>") { get(name: "A") } } }'
    async with open_a_session() as session:
        assert (await ask(session, query))["envFile"]["withVariable"]["get"] == "<t0ken>"
