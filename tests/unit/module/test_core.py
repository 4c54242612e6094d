"""The core's types are read from the schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline.engine.module.core import GIVES_ID, core_types

if TYPE_CHECKING:
    from layerline.engine.module.definitions import Function


def function(typename: str, name: str) -> Function:
    shape = core_types()[typename].as_object
    assert shape is not None
    return next(item for item in shape.functions if item.name == name)


def test_an_argument_that_is_an_id_is_of_the_objects_type() -> None:
    made = function("Container", "withDirectory")
    types = {arg.name: (arg.type_def.kind, arg.type_def.name) for arg in made.args}
    assert types["source"] == ("OBJECT_KIND", "Directory")
    assert types["path"] == ("STRING_KIND", "")
    assert types["exclude"] == ("LIST_KIND", "")
    defaults = {arg.name: arg.default_value for arg in made.args}
    assert defaults["exclude"] == "[]"
    assert defaults["path"] is None


def test_a_default_that_is_an_enum_member_is_json_text() -> None:
    made = function("Container", "withExec")
    assert next(a.default_value for a in made.args if a.name == "expect") == '"SUCCESS"'


def test_what_gives_an_id_is_marked() -> None:
    sync = function("Container", "sync")
    assert (sync.role, sync.return_type.name) == (GIVES_ID, "Container")
    assert function("Container", "stdout").role == ""


def test_a_nullable_answer_is_optional() -> None:
    assert function("Container", "envVariable").return_type.optional
    assert not function("Container", "stdout").return_type.optional


def test_enums_and_inputs() -> None:
    sharing = core_types()["CacheSharingMode"].as_enum
    forward = core_types()["PortForward"].as_input
    assert sharing is not None
    assert forward is not None
    assert [member.name for member in sharing.members] == ["LOCKED", "PRIVATE", "SHARED"]
    assert [item.name for item in forward.fields] == ["backend", "frontend", "protocol"]
