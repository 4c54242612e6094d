"""Which Python a module gets, and what is said where there is none."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from layerline.engine.module import interpreters
from layerline.engine.module.interpreters import interpreter_of, is_allowed, own_interpreter
from layerline.errors import ModuleError
from tests.unit.module.test_environment import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

OWN = f"3.{sys.version_info[1]}"


@pytest.mark.parametrize(
    ("specifier", "version", "allowed"),
    [
        ("", (3, 11, 2), True),
        (">=3.11", (3, 11, 2), True),
        (">=3.12", (3, 11, 9), False),
        (">=3.10,<3.12", (3, 11, 9), True),
        (">=3.10,<3.12", (3, 12, 0), False),
        ("==3.12.*", (3, 12, 4), True),
        ("==3.12", (3, 12, 4), True),
        ("~=3.11", (3, 13, 0), True),
        ("~=3.11.2", (3, 12, 0), False),
        (">3.11", (3, 11, 5), False),
        ("!=3.11.*", (3, 11, 5), False),
    ],
)
def test_specifiers(specifier: str, version: tuple[int, ...], *, allowed: bool) -> None:
    """As PEP 440 has them; `==3.12` is any 3.12, as in the tags of Dagger's images."""
    assert is_allowed(specifier, version) is allowed


@pytest.mark.parametrize(
    ("requires", "wanted"),
    [("", ""), (f">={OWN}", ""), ("", OWN), (f">={OWN}", OWN), (f">={OWN}", "3.99")],
)
def test_the_tools_own_python_is_used_where_it_fits(requires: str, wanted: str) -> None:
    project = replace(PROJECT, requires_python=requires, python_version=wanted)
    assert interpreter_of(project) == own_interpreter()


@pytest.mark.parametrize(
    ("requires", "wanted", "named"),
    [
        (">=3.99", "", r"Python >=3\.99 \(requires-python"),
        ("==3.98.*", "3.98", r"Python ==3\.98\.\* \(requires-python"),
        ("", "3.97.1", r"Python 3\.97\.1 \(\.python-version\)"),
    ],
)
def test_a_python_that_is_not_installed_is_named(requires: str, wanted: str, named: str) -> None:
    project = replace(PROJECT, requires_python=requires, python_version=wanted)
    with pytest.raises(ModuleError, match=named):
        interpreter_of(project)


def test_an_installed_python_is_found_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python" / "bin" / "python3.99"
    for path in (program, tmp_path / "python" / "lib" / "python3.99" / "os.py"):
        path.parent.mkdir(parents=True)
        path.touch()
    shim = tmp_path / "shims" / "python3.98"
    shim.parent.mkdir()
    shim.touch()
    monkeypatch.setenv("PATH", f"{shim.parent}:{program.parent}")
    interpreters.installed_interpreters.cache_clear()
    try:
        assert interpreter_of(replace(PROJECT, requires_python=">=3.98")) == program
        assert (
            interpreter_of(replace(PROJECT, requires_python="", python_version="3.99")) == program
        )
    finally:
        interpreters.installed_interpreters.cache_clear()
