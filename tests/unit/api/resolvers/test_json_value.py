"""JSON values: read, made and changed as Go's encoder would."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.conftest import ask, fail

if TYPE_CHECKING:
    from tests.unit.conftest import OpenSession


async def test_fields_are_set_on_the_way(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        made = await ask(session, '{ json { newString(value: "<b> & ä") { id } } }')
        value = made["json"]["newString"]["id"]
        query = f"""{{ json {{ withContents(contents: "{{\\"b\\": 1, \\"a\\": 2.5}}") {{ contents
          withField(path: ["x", "y"], value: "{value}") {{
            contents
            field(path: ["x", "y"]) {{ asString }} }} }} }} }}"""
        found = (await ask(session, query))["json"]["withContents"]
    assert found["contents"] == '{"b": 1, "a": 2.5}'
    changed = found["withField"]
    assert changed["contents"] == '{"a":2.5,"b":1,"x":{"y":"\\u003cb\\u003e \\u0026 ä"}}'
    assert changed["field"]["asString"] == "<b> & ä"


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("asBoolean", "not a boolean"),
        ("asString", "not a string"),
        ("asArray { contents }", "not an array"),
        ("fields", "not an object"),
        ('field(path: ["x"]) { contents }', "non-object"),
        ('withContents(contents: "NaN") { contents }', "invalid JSON"),
    ],
)
async def test_a_value_of_another_kind_is_an_error(
    open_a_session: OpenSession, field: str, message: str
) -> None:
    async with open_a_session() as session:
        error = await fail(session, f"{{ json {{ newInteger(value: 5) {{ {field} }} }} }}")
        assert message in error["message"]
