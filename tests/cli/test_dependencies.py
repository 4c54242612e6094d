"""Modules that depend on modules."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import git_server
from tests.cli.conftest import Place

if TYPE_CHECKING:
    from tests.cli.warm import WarmProgram

pytestmark = [pytest.mark.privileged, pytest.mark.network]

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def farm(
    tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str], warm: WarmProgram
) -> Place:
    """Modules three deep, with interfaces, enums and objects that pass from one to another."""
    module = tmp_path_factory.mktemp("modules") / "farm"
    shutil.copytree(HERE / "farm", module, ignore=shutil.ignore_patterns("__pycache__"))
    git_server.commit(module)
    return Place(workdir=module, environ=environ, warm=warm)


def test_objects_pass_between_modules_as_interfaces(farm: Place) -> None:
    assert farm.text("-m", "farm", "go").split(" | ") == [
        *("hello donald! donald's friend?", "hello donald! donald's friend?"),
        *("donald.", "donald's friend.", "donald=", "not at all 2 ['a']", "VERY 1 None"),
    ]


def test_a_chain_goes_on_through_an_interface(farm: Place) -> None:
    assert farm.text("-m", "farm", "animal", "name", "--suffix=!") == "dagobert!"
    chain = ("animals", "friend", "name", "--suffix=!")
    assert farm.text("-m", "farm", *chain) == "a's friend!\nb's friend!\n"


def test_an_object_of_a_dependency_is_kept_in_a_state(farm: Place) -> None:
    for _ in range(2):  # the second time from the store
        assert farm.text("-m", "duck", "keep", "told") == "VERY 1 None"


def test_an_optional_object_may_be_missing(farm: Place) -> None:
    assert farm.text("-m", "deep", "maybe", "--give=true", "text") == "given"
    assert farm.text("-m", "deep", "maybe", "--give=false", "text") == ""


def test_a_type_of_a_dependency_is_not_offered(farm: Place, tmp_path: Path) -> None:
    shutil.copytree(farm.workdir, tmp_path / "farm")
    place = replace(farm, workdir=tmp_path / "farm")
    code = place.workdir / "duck" / "src" / "duck" / "__init__.py"
    with code.open("a") as file:
        file.write("    @function\n    def heard(self) -> dagger.DeepSound: ...\n")
    wanted = (
        'object "Duck" function "heard" cannot return external type from dependency module "deep"'
    )
    assert wanted in place.error("-m", "duck", "quack")
