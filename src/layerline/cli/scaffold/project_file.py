"""The requirements in pyproject.toml: PEP 621, dependency groups, uv's sources, Poetry."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from layerline.cli.scaffold.poetry import git_url, other_sources, take_poetry
from layerline.cli.scaffold.requirements import project
from layerline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from layerline.cli.scaffold.requirements import Requirements

FILE = "pyproject.toml"


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file; empty where there is none, an error that names it where it is broken."""
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        message = f"{path.name} is not valid TOML: {exc}"
        raise UsageError(message) from exc


def take_project(home: Path, found: Requirements) -> None:
    """The requirements in a directory's pyproject.toml."""
    document = read_toml(home / FILE)
    table = document.get("project", {})
    tools = document.get("tool", {})
    poetry = tools.get("poetry", {})
    found.project = project(str(table.get("name") or poetry.get("name") or ""))
    if "requires-python" in table:
        found.python.append(str(table["requires-python"]))
    found.own |= {**other_sources(poetry), **uv_sources(home, tools.get("uv", {}))}
    found.urls |= git_sources({**poetry.get("dependencies", {}), **_sources(tools)})
    found.directories |= _directories(home, tools)
    if "dependencies" in table:
        found.take("", table["dependencies"], f"{FILE}, project.dependencies")
    if "dependencies" in poetry or "group" in poetry:
        take_poetry(poetry, found, enriches="dependencies" in table)
    if "dependencies" in table.get("dynamic", []):
        found.left.append(f"{FILE}: project.dependencies is dynamic, its build backend computes it")
    for extra, texts in table.get("optional-dependencies", {}).items():
        found.take(extra, texts, f"{FILE}, the extra {extra!r}")
    if "dev-dependencies" in tools.get("uv", {}):
        found.take("dev", tools["uv"]["dev-dependencies"], f"{FILE}, tool.uv.dev-dependencies")
    for index in [*tools.get("uv", {}).get("index", []), *poetry.get("source", [])]:
        found.leave_index(FILE, str(index.get("name", "")))
    groups = document.get("dependency-groups", {})
    for name in groups:
        group = list(_of_group(name, groups, found, within=()))
        found.take(name, group, f"{FILE}, the dependency group {name!r}")


def _sources(tools: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = tools.get("uv", {}).get("sources", {})
    return found


def git_sources(tables: Mapping[str, Any]) -> dict[str, str]:
    """The URLs of projects that come from one repository, whatever the platform."""
    found = {
        project(name): git_url(table)
        for name, table in tables.items()
        if isinstance(table, dict) and "git" in table and "marker" not in table
    }
    return {name: url for name, url in found.items() if url}


def uv_sources(home: Path, uv: Mapping[str, Any]) -> dict[str, str]:
    """The projects that uv takes from elsewhere than the index, with the reason to leave them."""
    found = {}
    for name, value in uv.get("sources", {}).items():
        for source in value if isinstance(value, list) else [value]:
            kind = next(
                (key for key in ("git", "path", "url", "workspace", "index") if key in source), ""
            )
            if kind == "index" and _is_of_pytorch(str(source["index"]), uv):
                continue
            if kind:
                shown = "the workspace" if kind == "workspace" else f"{kind} = {source[kind]!r}"
                found[project(name)] = f"as its source in tool.uv.sources is {shown}"
    for member in workspace_members(home, uv):
        name = project(str(read_toml(member / FILE).get("project", {}).get("name", "")))
        found.setdefault(name, f"as it is {member.relative_to(home).as_posix()} of the workspace")
    return found


def workspace_members(home: Path, uv: Mapping[str, Any]) -> list[Path]:
    """The directories of the members of uv's workspace."""
    patterns = uv.get("workspace", {}).get("members", [])
    found = {path for pattern in patterns for path in home.glob(str(pattern))}
    return sorted(path for path in found if (path / FILE).is_file() and path != home)


def is_installed(home: Path, directory: str = ".") -> bool:
    """Whether a directory's project is built and installed, as uv and Poetry decide it.

    The repository's own is if it has a build system, one that is required if it is a project.
    https://docs.astral.sh/uv/concepts/projects/config/#project-packaging
    """
    document = read_toml(home / directory / FILE)
    tools = document.get("tool", {})
    asked = tools.get("uv", {}).get("package", tools.get("poetry", {}).get("package-mode"))
    if asked is not None:
        return bool(asked)
    required = directory != "." and (document or (home / directory / "setup.py").is_file())
    return "build-system" in document or bool(required)


def take_imports(home: Path, found: Requirements) -> None:
    """The requirements of the repository's own projects that are imported from their source."""
    for directory in found.imports:  # which grows on the way
        path = home / directory
        if not path.resolve().is_relative_to(home):
            continue
        table = read_toml(path / FILE).get("project", {})
        where = f"{directory}/{FILE}, project.dependencies"
        if "dependencies" in table:
            found.take("", table["dependencies"], where)


def _directories(home: Path, tools: Mapping[str, Any]) -> dict[str, str]:
    """The directories of projects in the repository: members of uv's workspace, or by path."""
    uv, poetry = tools.get("uv", {}), tools.get("poetry", {})
    members = {member: read_toml(member / FILE) for member in workspace_members(home, uv)}
    found = {
        project(str(document.get("project", {}).get("name", ""))): member
        for member, document in members.items()
    }
    tables = {**poetry.get("dependencies", {}), **uv.get("sources", {})}
    for name, value in tables.items():
        if isinstance(value, dict) and "path" in value:
            found[project(name)] = home / str(value["path"])
    return {
        name: path.resolve().relative_to(home.resolve()).as_posix()
        for name, path in found.items()
        if path.is_dir() and path.resolve().is_relative_to(home.resolve())
    }


def _is_of_pytorch(index: str, uv: Mapping[str, Any]) -> bool:
    """PyTorch's own index has the names of the public one, built for another platform."""
    return any(
        each.get("name") == index and ".pytorch.org/" in str(each.get("url"))
        for each in uv.get("index", [])
    )


def _of_group(
    name: str, groups: Mapping[str, Any], found: Requirements, *, within: tuple[str, ...]
) -> Iterator[str]:
    """The requirements of a dependency group, and of those that it includes."""
    named = {project(each): each for each in groups}
    for entry in groups[name]:
        other = entry.get("include-group") if isinstance(entry, dict) else None
        if isinstance(entry, str):
            yield entry
        elif other is None or (known := named.get(project(str(other)))) is None:
            what = f"{FILE}, the dependency group {name!r}"
            found.left.append(f"{what}: {entry} left out, as it names an unknown group")
        elif known not in within:
            yield from _of_group(known, groups, found, within=(*within, name))
