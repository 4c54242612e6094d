"""Results are printed as Go prints what it read from JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from layerline.cli.display.output import plain, render, save
from layerline.engine.module.definitions import ListTypeDef, Module, ObjectTypeDef, TypeDef
from layerline.engine.module.types import Types
from layerline.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

TEXT = TypeDef(kind="STRING_KIND")
REPORT = TypeDef(kind="OBJECT_KIND", name="Report", as_object=ObjectTypeDef(name="Report"))
TYPES = Types(name="sample", definition=Module(objects=(REPORT,)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (42, "42"),
        (1.5, "1.5"),
        (100000, "100000"),
        (1000000, "1e+06"),
        (1234567, "1.234567e+06"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (-3.25, "-3.25"),
        (True, "true"),
        (None, ""),
        ("as it is\n", "as it is\n"),
        (["a", 1], "a\n1\n"),
    ],
)
def test_plain_values(value: object, text: str) -> None:
    assert plain(value) == text


def test_json_is_indented_by_four_and_not_escaped() -> None:
    listed = TypeDef(kind="LIST_KIND", as_list=ListTypeDef(element_type_def=TEXT))
    assert render(["<ä>"], listed, TYPES, as_json=True) == '[\n    "<ä>"\n]\n'


@pytest.mark.parametrize(
    ("value", "fields", "shown"),
    [
        (["a", None], [("name", False)], [{"name": "a"}, {"name": None}]),
        ([["x", "y"]], [("tags", True)], [{"tags": ["x", "y"]}]),
        ([["x"]], [("inner", False), ("tags", True)], [{"inner": {"tags": ["x"]}}]),
        ([["x"]], [("parts", True), ("name", False)], [{"parts": [{"name": "x"}]}]),
    ],
)
def test_json_of_the_elements_of_a_list_has_what_was_asked_of_them(
    value: list[object], fields: list[tuple[str, bool]], shown: list[object]
) -> None:
    # dagger/querybuilder of v0.21.8 leaves a list as the API answers it.
    printed = render(value, TEXT, TYPES, as_json=True, fields=fields)
    assert json.loads(printed) == shown
    assert render(["a"], TEXT, TYPES, as_json=False, fields=[("name", False)]) == "a\n"


def test_void_prints_nothing() -> None:
    assert render(None, TypeDef(kind="VOID_KIND", optional=True), TYPES, as_json=False) == ""


def test_objects_print_their_type_and_digest_also_as_json() -> None:
    ours = render({"a": 1}, REPORT, TYPES, as_json=True)
    assert ours.startswith("SampleReport@xxh3:")
    assert len(ours) == len("SampleReport@xxh3:") + 16 + 1
    assert ours != render({"a": 2}, REPORT, TYPES, as_json=True)
    core = TypeDef(kind="OBJECT_KIND", name="Container")
    identifier = "Container:" + "ab" * 32
    assert render(identifier, core, TYPES, as_json=False) == f"Container@xxh3:{'ab' * 8}\n"


def test_lists_of_objects_have_one_line_each() -> None:
    listed = TypeDef(kind="LIST_KIND", as_list=ListTypeDef(element_type_def=REPORT))
    lines = render([{"a": 1}, {"a": 2}], listed, TYPES, as_json=False).splitlines()
    assert [line[:18] for line in lines] == ["- SampleReport@xxh", "- SampleReport@xxh"]
    assert lines[0] != lines[1]


def test_a_saved_result_gets_the_directories_above_it(tmp_path: Path) -> None:
    path = save("x", "a/b/c.txt", tmp_path)
    assert path == tmp_path / "a/b/c.txt"
    assert path.read_text() == "x"


def test_a_directory_does_not_become_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="it is a directory; name a file in it"):
        save("x", ".", tmp_path)
