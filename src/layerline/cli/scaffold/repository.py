"""Reads a repository for `init`: the files that declare requirements, or the projects inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline.cli.scaffold.other_files import take_others
from layerline.cli.scaffold.project_file import (
    FILE,
    read_toml,
    take_imports,
    take_project,
    workspace_members,
)
from layerline.cli.scaffold.requirement_files import take_files
from layerline.cli.scaffold.requirements import Requirements

if TYPE_CHECKING:
    from pathlib import Path

_DECLARE = (
    *(FILE, "setup.py", "setup.cfg", "requirements.txt", "requirements.in", "Pipfile"),
    *("environment.yml", "environment.yaml", "cog.yaml"),
)
_DEEPEST = 2
_NOT_PROJECTS = {"node_modules", "venv", "docs", "tests", "requirements", "build", "dist"}


def find_requirements(home: Path) -> Requirements:
    """All requirements of a repository: of its project, else of its other files."""
    found = Requirements()
    take_project(home, found)
    version = home / ".python-version"
    if version.is_file():
        wanted = version.read_text(errors="replace").split()
        if wanted and wanted[0][0].isdigit():
            found.python.append("==" + ".".join(wanted[0].split(".")[:2]) + ".*")
            found.notes.append(f".python-version: Python {wanted[0]}")
    if not any(found.by_name.values()):
        take_others(home, found)
    if not any(found.by_name.values()):
        take_files(home, found)
    take_imports(home, found)
    return found


def find_projects(home: Path) -> list[str]:
    """The directories that declare requirements of their own, relative to the repository."""
    members = workspace_members(home, read_toml(home / FILE).get("tool", {}).get("uv", {}))
    around = [home / "*" / name for name in _DECLARE] + [
        home / "*" / "*" / name for name in _DECLARE
    ]
    found = {path.parent for each in around for path in home.glob(str(each.relative_to(home)))}
    kept = {
        path.relative_to(home).as_posix()
        for path in {*found, *members}
        if not any(
            part.startswith(".") or part in _NOT_PROJECTS for part in path.relative_to(home).parts
        )
    }
    return sorted(kept)
