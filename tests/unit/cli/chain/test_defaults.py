"""Defaults of a user: which key is for which argument, and which file counts first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from layerline.cli.chain.defaults import UserDefaults, read_defaults
from layerline.engine.module.definitions import Function, FunctionArg, TypeDef
from layerline.engine.module.source import ModuleConfig
from layerline.engine.module.types import Member
from layerline.errors import ModuleError

if TYPE_CHECKING:
    from pathlib import Path

TEXT = TypeDef(kind="STRING_KIND")
ARG = FunctionArg(name="tag_name", type_def=TEXT)


def member(owner: str, function: str) -> Member:
    return Member(function=Function(name=function, return_type=TEXT), api_name="", owner=owner)


def config(root: Path) -> ModuleConfig:
    return ModuleConfig(
        name="my-mod", root=root, context=root, source=".", include=(), caching=True
    )


def load_defaults(root: Path, workdir: Path) -> UserDefaults:
    return read_defaults(config(root), "MyMod", workdir=workdir, environ={"USER": "ada"})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "module"
    place.mkdir()
    return place


@pytest.mark.parametrize(
    ("key", "owner", "function"),
    [
        ("TAG_NAME", "MyMod", ""),
        ("BUILD_IT_TAG_NAME", "MyMod", "build_it"),
        ("buildIt_tagName", "MyMod", "build_it"),
        ("Report_Show_Tag_Name", "Report", "show"),
    ],
)
def test_keys(root: Path, key: str, owner: str, function: str) -> None:
    (root / ".env").write_text(f"# mine\n\n{key}='v1'\n")
    defaults = load_defaults(root, root)
    assert defaults.text(member(owner, function), ARG) == "v1"
    assert defaults.text(member(owner, "other"), ARG) is None


def test_what_is_around_the_caller_counts_first(root: Path) -> None:
    (root / ".env").write_text("TAG_NAME=inner\nBUILD_TAG_NAME=kept\n")
    (root.parent / ".env").write_text("MY_MOD_TAG_NAME=of-$USER\nTAG_NAME=not-for-us\n")
    work = root.parent / "work" / "deep"
    work.mkdir(parents=True)
    defaults = load_defaults(root, work)
    assert defaults.text(member("MyMod", ""), ARG) == "of-ada"
    assert defaults.text(member("MyMod", "build"), ARG) == "kept"


def test_a_broken_file_is_named(root: Path) -> None:
    (root / ".env").write_text("A='open\n")
    with pytest.raises(ModuleError, match=r"module/\.env cannot be read"):
        load_defaults(root, root)


def test_a_file_that_is_not_text_is_named(root: Path) -> None:
    (root / ".env").write_bytes(b"TAG_NAME=\xff")
    with pytest.raises(ModuleError, match=r"module/\.env: not UTF-8 text .*: write it in UTF-8"):
        load_defaults(root, root)


def test_a_file_for_others_may_be_of_any_form(root: Path) -> None:
    (root.parent / ".env").write_text("this is: not ours\n")
    assert load_defaults(root, root).texts == {}


def test_a_module_from_elsewhere_names_no_variable_of_the_user(root: Path, tmp_path: Path) -> None:
    (root / ".env").write_text("TAG_NAME=$USER\n")
    for foreign in (False, True):
        mine = replace(config(root), copied=foreign)
        found = read_defaults(mine, "MyMod", workdir=tmp_path / "else", environ={"USER": "ada"})
        assert found.text(member("MyMod", ""), ARG) == (None if foreign else "ada")
