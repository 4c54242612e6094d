"""The files that a new Python module begins with."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from layerline.engine.module.naming import kebab, package_name, pascal
from layerline.text_file import read_text

if TYPE_CHECKING:
    from pathlib import Path

_PROJECT = """\
[project]
name = "{project}"
version = "0.1.0"
requires-python = ">={python}"
dependencies = ["dagger-io"]

[build-system]
requires = ["uv_build>=0.8.4,<0.9.0"]
build-backend = "uv_build"

[tool.uv.sources]
dagger-io = {{ path = "sdk", editable = true }}
"""
_PACKAGE = '''\
"""The functions of {name}: what others can call of this module."""

from .main import {main} as {main}
'''
_MAIN = '''\
import dagger
from dagger import dag, function, object_type


@object_type
class {main}:
    @function
    def container_echo(self, string_arg: str) -> dagger.Container:
        """Return a container that echoes a text."""
        return dag.container().from_("alpine:latest").with_exec(["echo", string_arg])

    @function
    async def grep_dir(self, directory_arg: dagger.Directory, pattern: str) -> str:
        """Return the lines of a directory's files that match a pattern."""
        return await (
            dag.container()
            .from_("alpine:latest")
            .with_mounted_directory("/mnt", directory_arg)
            .with_workdir("/mnt")
            .with_exec(["grep", "-R", pattern, "."])
            .stdout()
        )
'''
_IGNORED = ("/.venv", "/**/__pycache__", "/sdk", "/.env")
_GENERATED = ("/sdk/** linguist-generated",)


def project_files(place: Path, name: str) -> dict[str, str]:
    """What a directory lacks of a module: the project, and the code unless it has some."""
    project = kebab(name)
    package, main = package_name(project), pascal(name)
    found: dict[str, str] = {}
    if not (place / "pyproject.toml").exists():
        python = ".".join(map(str, sys.version_info[:2]))
        found["pyproject.toml"] = _PROJECT.format(project=project, python=python)
    if not any(place.glob("*.py")) and not any(place.glob("src/**/*.py")):
        found[f"src/{package}/__init__.py"] = _PACKAGE.format(name=name, main=main)
        found[f"src/{package}/main.py"] = _MAIN.format(main=main)
    return found


def git_files(place: Path) -> dict[str, str]:
    """The files that keep what is generated out of commits, completed."""
    return {
        ".gitattributes": _completed(place / ".gitattributes", _GENERATED),
        ".gitignore": _completed(place / ".gitignore", _IGNORED),
    }


def _completed(path: Path, lines: tuple[str, ...]) -> str:
    hint = "write it in UTF-8, or move it away"
    text = read_text(path, hint=hint) if path.is_file() else ""
    present = {line.strip().rstrip("/") for line in text.splitlines()}
    missing = [line for line in lines if line not in present]
    if text and not text.endswith("\n"):
        text += "\n"
    return text + "".join(f"{line}\n" for line in missing)
