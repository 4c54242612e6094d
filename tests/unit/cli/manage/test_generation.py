"""What is generated for a module lands in it, and nowhere else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from layerline.cli.console import Console
from layerline.cli.manage.generation import generate
from layerline.cli.manage.license_file import write_license
from layerline.cli.manage.module_file import ModuleFile
from layerline.cli.manage.template import git_files, project_files
from layerline.cli.options import Options
from layerline.engine.module.source import read_config
from layerline.errors import ModuleError
from layerline.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def make_module(root: Path, **more: object) -> Path:
    root.mkdir()
    document = {"name": "own", "sdk": {"source": "python"}, **more}
    (root / "dagger.json").write_text(json.dumps(document))
    (root / "pyproject.toml").write_text('[project]\nname = "own"\nversion = "1"\n')
    (root / "main.py").write_text("")
    return root


def console(home: Path) -> Console:
    settings = Settings.from_environ({"HOME": str(home)})
    return Console(program="layerline", argv=[], options=Options.scan([]), settings=settings)


def develop(root: Path) -> None:
    generate(console(root), ModuleFile.read(root), read_config(root))


def test_a_module_with_code_gets_only_the_sdk(tmp_path: Path) -> None:
    root = make_module(tmp_path / "own")
    (root / ".gitignore").write_text("/.venv\n/build")
    develop(root)
    made = {path.name for path in root.iterdir()}
    given = {"dagger.json", "pyproject.toml", "main.py"}
    assert made == {*given, "sdk", ".gitignore", ".gitattributes"}
    assert (root / "sdk" / "src" / "dagger" / "client" / "gen.py").is_file()
    ignored = (root / ".gitignore").read_text()
    assert ignored == "/.venv\n/build\n/**/__pycache__\n/sdk\n/.env\n"
    develop(root)
    assert (root / ".gitignore").read_text() == ignored


def test_files_of_git_are_left_alone_where_the_module_says_so(tmp_path: Path) -> None:
    root = make_module(tmp_path / "own", codegen={"automaticGitignore": False})
    develop(root)
    assert not (root / ".gitignore").exists()


@pytest.mark.parametrize("name", [".gitignore", ".gitattributes", "sdk", "sdk/pyproject.toml"])
def test_links_lead_to_no_file_of_the_user(tmp_path: Path, name: str) -> None:
    root = make_module(tmp_path / "clone")
    mine = tmp_path / "mine"
    mine.mkdir()
    link = root / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(mine if name == "sdk" else mine / "new")
    with pytest.raises(ModuleError, match="leads out of its repository by a link"):
        develop(root)
    assert list(mine.iterdir()) == []


def test_a_license_is_written_where_none_is(tmp_path: Path) -> None:
    root = make_module(tmp_path / "own")
    write_license(console(tmp_path), root, root, "")
    assert not (root / "LICENSE").exists()
    write_license(console(tmp_path), root, root, None)
    assert "Apache License" in (root / "LICENSE").read_text()
    (root / "LICENSE").write_text("mine")
    write_license(console(tmp_path), root, root, None)
    assert (root / "LICENSE").read_text() == "mine"
    (root / "LICENSE").unlink()
    (root / "LICENSE").symlink_to(tmp_path / "else")
    with pytest.raises(ModuleError, match="by a link"):
        write_license(console(tmp_path), root, root, None)


def test_what_is_there_is_not_proposed_again(tmp_path: Path) -> None:
    assert set(project_files(tmp_path, "MyTool")) == {
        "pyproject.toml",
        "src/my_tool/__init__.py",
        "src/my_tool/main.py",
    }
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "src" / "a").mkdir(parents=True)
    (tmp_path / "src" / "a" / "b.py").touch()
    assert project_files(tmp_path, "MyTool") == {}
    assert git_files(tmp_path)[".gitattributes"] == "/sdk/** linguist-generated\n"
