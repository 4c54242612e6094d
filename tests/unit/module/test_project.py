"""What is read of a module's pyproject.toml."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerline.engine.module.environment import environment_key
from layerline.engine.module.project import read_project
from layerline.errors import ModuleError
from tests.unit.module.layouts import BUILT, EDITABLE, Layout

if TYPE_CHECKING:
    from pathlib import Path

PYPROJECT = """
[project]
name = "My-Thing"
version = "1.2"
dependencies = ["dagger-io", "attrs>=23"]
[project.entry-points."dagger.mod"]
main_object = "ci.main:Thing"
"""


def test_a_package_at_the_root_is_imported_from_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "ci").mkdir()
    project = read_project(tmp_path, "thing")
    assert (project.entry_point, project.package) == ("ci.main:Thing", "my_thing")
    assert (project.main_object, project.paths, project.built) == ("Thing", (".",), False)
    assert project.dependencies == ("dagger-io", "attrs>=23")


def test_a_src_directory_comes_first(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "src" / "ci").mkdir(parents=True)
    assert read_project(tmp_path, "thing").paths == ("src", ".")


def test_a_layout_that_cannot_be_imported_is_built(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "lib" / "ci").mkdir(parents=True)
    assert read_project(tmp_path, "thing").built


@pytest.mark.parametrize("layout", EDITABLE.values(), ids=EDITABLE)
def test_code_is_imported_from_where_the_build_backend_has_it(
    tmp_path: Path, layout: Layout
) -> None:
    layout.write(tmp_path / "module")
    project = read_project(tmp_path / "module", "thing")
    assert (project.paths, project.built) == (layout.paths, False)


@pytest.mark.parametrize("layout", EDITABLE.values(), ids=EDITABLE)
def test_a_changed_line_is_not_another_environment_but_another_need_is(
    tmp_path: Path, layout: Layout
) -> None:
    layout.write(tmp_path / "module")
    path = tmp_path / "module" / "pyproject.toml"
    before = environment_key(read_project(path.parent, "thing"), "source")
    assert environment_key(read_project(path.parent, "thing"), "changed source") == before
    path.write_text(path.read_text().replace('"1.0"', '"1.0"\ndependencies = ["attrs"]'))
    assert environment_key(read_project(path.parent, "thing"), "source") != before


@pytest.mark.parametrize("layout", BUILT.values(), ids=BUILT)
def test_what_only_the_build_backend_knows_is_built(tmp_path: Path, layout: Layout) -> None:
    layout.write(tmp_path / "module")
    project = read_project(tmp_path / "module", "thing")
    assert (project.paths, project.built) == (layout.paths, True)
    assert environment_key(project, "source") != environment_key(project, "changed source")


def test_a_project_in_poetrys_own_table_is_built(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.poetry]\nname = "thing"\n')
    (tmp_path / "thing").mkdir()
    assert read_project(tmp_path, "thing").built


def test_the_settings_of_another_backend_do_not_count(tmp_path: Path) -> None:
    layout = EDITABLE["hatchling: packages"]
    layout._replace(requires="uv_build").write(tmp_path / "module")
    project = read_project(tmp_path / "module", "thing")
    assert (project.paths, project.built) == ((".",), True)


def test_a_main_beside_the_project_is_not_what_an_entry_point_names(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "main.py").touch()
    assert read_project(tmp_path, "thing").built
    without = PYPROJECT.partition("[project.entry-points")[0]
    (tmp_path / "pyproject.toml").write_text(without)
    assert not read_project(tmp_path, "thing").built


def test_a_module_without_a_project_is_a_plain_directory(tmp_path: Path) -> None:
    project = read_project(tmp_path, "my-thing")
    assert (project.package, project.main_object, project.built) == ("my_thing", "MyThing", False)


@pytest.mark.parametrize("name", ["uv.lock", "requirements.lock"])
def test_a_lock_beside_it_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert read_project(tmp_path, "thing").lock == name


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project")
    with pytest.raises(ModuleError, match=r"pyproject\.toml cannot be read"):
        read_project(tmp_path, "thing")
