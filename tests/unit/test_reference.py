"""The generated reference pages are what the code says, and every key has a description."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    sys.path.insert(0, str(DOCS))  # as that of a program is
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(DOCS))
    return module


def test_the_command_lines_page_is_current(generator: ModuleType) -> None:
    assert (DOCS / "reference/command-line.md").read_text() == generator.command_line()


def test_the_definitions_page_is_current(generator: ModuleType) -> None:
    assert (DOCS / "reference/layerline-toml.md").read_text() == generator.definition()


def test_the_picture_of_the_rooms_is_current(generator: ModuleType) -> None:
    assert generator.ROOMS.read_text() == generator.rooms.picture()


def test_an_arrow_that_others_imply_is_left_out(generator: ModuleType) -> None:
    arrows = {"a": {"b", "c", "d"}, "b": {"c"}, "c": set(), "d": set()}
    assert generator.rooms.reduced(arrows) == {"a": {"b", "d"}, "b": {"c"}, "c": set(), "d": set()}


def test_every_key_of_the_definition_is_described(generator: ModuleType) -> None:
    for table, model in generator.TABLES.items():
        for name, field in model.model_fields.items():
            assert field.description, f"{table}.{name}"
