"""Checks are found and chosen as in https://github.com/dagger/dagger/blob/v0.21.8/core/modtree.go."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from layerline.cli.chain.marked import CHECK, GENERATOR, find_marked, table
from layerline.cli.chain.modules import CallTarget
from layerline.engine.module.definitions import (
    Function,
    FunctionArg,
    Module,
    ObjectTypeDef,
    TypeDef,
)
from layerline.engine.module.source import Dependency
from layerline.engine.module.types import Types, reference

STRING = TypeDef(kind="STRING_KIND")
NEEDED = FunctionArg(name="text", type_def=STRING)


def module(name: str, **objects: list[Function]) -> CallTarget:
    shapes = [ObjectTypeDef(name=key, functions=tuple(own)) for key, own in objects.items()]
    defined = Module(
        name=name,
        objects=tuple(TypeDef(kind="OBJECT_KIND", name=s.name, as_object=s) for s in shapes),
    )
    loaded: Any = SimpleNamespace(name=name, config=SimpleNamespace(toolchains=()))
    return CallTarget(types=Types(name=name, definition=defined), loaded=loaded)


def marked(name: str, role: str = CHECK, **more: Any) -> Function:  # noqa: ANN401 - its fields
    return Function(name=name, role=role, return_type=STRING, description=f"{name}.\nMore.", **more)


def part(name: str, returned: str) -> Function:
    return Function(name=name, return_type=reference(returned))


TREE = module(
    "my_mod",
    MyMod=[
        marked("lint_all"),
        marked("with_argument", args=(NEEDED,)),
        part("docs", "Docs"),
        marked("lock", role=GENERATOR),
    ],
    Docs=[marked("spelled"), part("deeper", "Deeper"), part("again", "Docs")],
    Deeper=[marked("linked"), part("above", "MyMod")],
)


def names(*patterns: str) -> list[str]:
    return [each.name for each in find_marked(TREE, (CHECK,), patterns)]


def test_those_that_need_no_arguments_are_found_wherever_they_are() -> None:
    assert names() == ["my-mod:docs:deeper:linked", "my-mod:docs:spelled", "my-mod:lint-all"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("lint-all", ["lint-all"]),
        ("lintAll", ["lint-all"]),
        ("my-mod:lint-all", ["lint-all"]),
        ("l*", ["lint-all"]),
        ("*", ["lint-all"]),
        ("docs", ["docs:deeper:linked", "docs:spelled"]),
        ("docs:*", ["docs:spelled"]),
        ("docs/spelled", ["docs:spelled"]),
        ("**:linked", ["docs:deeper:linked"]),
        ("docs:**", ["docs:deeper:linked", "docs:spelled"]),
        ("doc?:{spelled,other}", ["docs:spelled"]),
        ("[k-m]int-all", ["lint-all"]),
        ("[!l]int-all", []),
        ("lint", []),
        ("lock", []),
        ("spelled", []),
    ],
)
def test_a_pattern_means_a_path_or_what_is_below_it(pattern: str, found: list[str]) -> None:
    assert names(pattern) == [f"my-mod:{name}" for name in found]


def test_toolchains_have_their_own_names() -> None:
    tool = module("tool", Tool=[marked("works")])
    both = replace(TREE, toolchains={"myTool": tool})
    assert [each.name for each in find_marked(both, (CHECK,), ["works"])] == ["my-tool:works"]


def test_what_the_entry_of_a_toolchain_excludes_is_left_out() -> None:
    tool = module("tool", Tool=[marked("works"), marked("slow"), marked("lock", role=GENERATOR)])
    entry = Dependency(name="tool", source="tool", ignored={CHECK: ("slow", "lock")})
    loaded: Any = SimpleNamespace(name="my_mod", config=SimpleNamespace(toolchains=(entry,)))
    both = replace(TREE, loaded=loaded, toolchains={"tool": tool})
    found = find_marked(both, (CHECK, GENERATOR), ["tool"])
    assert [each.name for each in found] == ["tool:lock", "tool:works"]


def test_the_table_has_titles_and_first_lines() -> None:
    checks, generators = (find_marked(TREE, (role,), ["l*"]) for role in (CHECK, GENERATOR))
    assert table(("", checks), ("Generators", generators)).splitlines() == [
        "Name              Description",
        "my-mod:lint-all   lint_all.",
        "                  ",
        "Generators        ",
        "my-mod:lock       lock.",
    ]
