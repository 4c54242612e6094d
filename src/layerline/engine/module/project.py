"""A module's pyproject.toml: its requirements, and where its main object is."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerline.engine.module.editable import editable_paths
from layerline.engine.module.naming import package_name, pascal
from layerline.errors import ModuleError
from layerline.text_file import read_text, reason_of

if TYPE_CHECKING:
    from pathlib import Path

LOCKS = ("uv.lock", "requirements.lock")
# Where packages lie unless a project says otherwise.
_DEFAULT_PATHS = ("src", ".")
# What is read here; only the build backend knows it where a project calls it dynamic.
_MUST_BE_LISTED = frozenset({"dependencies", "entry-points"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The Python project of a module.

    `paths` are the directories that an editable installation puts on the import path, relative to
    the project; where the code cannot be imported from them, the project has to be `built`. So it
    has where requirements have sources of their own, which uv alone knows how to find. `lock` names
    a lock file next to the pyproject.toml, `python_version` is what a .python-version says.
    """

    directory: Path
    name: str
    version: str
    requires_python: str
    dependencies: tuple[str, ...]
    entry_point: str | None
    package: str
    main_object: str
    paths: tuple[str, ...]
    built: bool
    lock: str | None
    python_version: str = ""

    def read_lock(self) -> str:
        """The text of the lock file, empty without one."""
        if self.lock is None:
            return ""
        hint = "fix it, or lock the module's dependencies again"
        return read_text(self.directory / self.lock, hint=hint, error=ModuleError)


def read_project(directory: Path, module: str) -> Project:
    """Read `pyproject.toml`; a module without one is a plain `src` directory."""
    document = _document(directory / "pyproject.toml")
    table = document.get("project", {})
    name = str(table.get("name") or module)
    entry_points = table.get("entry-points", {}).get("dagger.mod", {})
    entry_point = entry_points.get("main_object")
    package = package_name(name)
    # The SDK imports what the entry point names, or else the package, or else `main`.
    imported = (_top(entry_point),) if entry_point else (package, "main")
    paths = _paths(directory, editable_paths(document), imported)
    distributed = bool(table) or "poetry" in document.get("tool", {})
    listed = bool(table) and _MUST_BE_LISTED.isdisjoint(table.get("dynamic", ()))
    return Project(
        directory=directory,
        name=name,
        version=str(table.get("version") or "0.0.0") if table else "",
        requires_python=str(table.get("requires-python") or ""),
        dependencies=tuple(str(d) for d in table.get("dependencies", ())),
        entry_point=entry_point,
        package=package,
        main_object=pascal(module),
        paths=paths,
        built=distributed
        and (_has_sources(document) or not (listed and _importable(directory, paths, imported))),
        lock=next((lock for lock in LOCKS if (directory / lock).is_file()), None),
        python_version=_python_version(directory / ".python-version"),
    )


def _has_sources(document: dict[str, Any]) -> bool:
    """Whether a requirement is not that of the index: https://docs.astral.sh/uv/ tool.uv.sources.

    The SDK's own source is the engine's to give.
    """
    sources = document.get("tool", {}).get("uv", {}).get("sources", {})
    return any(package_name(str(name)) != "dagger_io" for name in sources)


def _python_version(path: Path) -> str:
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError):
        return ""
    return next((line for line in lines if line and not line.startswith("#")), "")


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        message = f"{path} cannot be read: {reason_of(exc)}"
        raise ModuleError(message) from exc


def _top(entry_point: str) -> str:
    return entry_point.partition(":")[0].partition(".")[0]


def _paths(
    directory: Path, declared: tuple[str, ...], imported: tuple[str, ...]
) -> tuple[str, ...]:
    """The declared directories if they have the code; else also the default ones."""
    found = tuple(path for path in declared if (directory / path).is_dir())
    if _importable(directory, found, imported):
        return found
    default = tuple(path for path in _DEFAULT_PATHS if (directory / path).is_dir())
    return (*found, *default)


def _importable(directory: Path, paths: tuple[str, ...], names: tuple[str, ...]) -> bool:
    """Whether one of the modules can be imported from the paths."""
    return any(
        (directory / path / file).exists()
        for path in paths
        for name in names
        for file in (name, f"{name}.py")
    )
