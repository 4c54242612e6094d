"""An editable installation by each build backend imports what the embedded engine imports."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from layerline import command
from layerline.engine.module.project import read_project
from layerline.settings import process_environ
from tests.unit.module.layouts import EDITABLE, Layout

pytestmark = pytest.mark.network

UV = Path(sys.executable).with_name("uv")
FOUND = "import importlib.util as u; print(u.find_spec('thing').origin)"
SECONDS = 120.0


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The interpreter of an empty environment."""
    command.run([UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv"])
    return tmp_path / "venv" / "bin" / "python"


@pytest.mark.parametrize("layout", EDITABLE.values(), ids=EDITABLE)
def test_the_code_is_imported_from_the_same_file(
    tmp_path: Path, python: Path, layout: Layout
) -> None:
    module = tmp_path / "repository" / "module"
    layout.write(module)
    command.run(
        [UV, "pip", "install", "--no-deps", "--python", python, "-e", module],
        env=process_environ(),
        timeout=SECONDS,
    )
    found = command.run([python, "-c", FOUND], cwd=tmp_path).stdout.decode().strip()
    project = read_project(module, "thing")
    files = [module / path / "thing" / "__init__.py" for path in project.paths]
    ours = next(file.resolve() for file in files if file.exists())
    assert Path(found).resolve() == ours
