"""What a module's pyproject.toml says: what it needs, and where its main object is."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerline.engine.module.naming import package_name, pascal
from layerline.errors import ModuleError

if TYPE_CHECKING:
    from pathlib import Path

LOCKS = ("uv.lock", "requirements.lock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The Python project of a module.

    `paths` are the directories that an editable installation puts on the import path, relative to
    the project; where the code cannot be imported from them, the project has to be `built`. `lock`
    names a lock file next to the pyproject.toml, if there is one.
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


def read_project(directory: Path, module: str) -> Project:
    """Read `pyproject.toml`; a module without one is a plain `src` directory."""
    document = _document(directory / "pyproject.toml")
    table = document.get("project", {})
    name = str(table.get("name") or module)
    entry_points = table.get("entry-points", {}).get("dagger.mod", {})
    entry_point = entry_points.get("main_object")
    package = package_name(name)
    paths = tuple(p for p in (*_dev_mode_dirs(document), "src", ".") if (directory / p).is_dir())
    wanted = entry_point.partition(":")[0].partition(".")[0] if entry_point else package
    return Project(
        directory=directory,
        name=name,
        version=str(table.get("version") or "0.0.0"),
        requires_python=str(table.get("requires-python") or ""),
        dependencies=tuple(str(d) for d in table.get("dependencies", ())),
        entry_point=entry_point,
        package=package,
        main_object=pascal(module),
        paths=paths,
        built=bool(table) and not _importable(directory, paths, wanted),
        lock=next((lock for lock in LOCKS if (directory / lock).is_file()), None),
    )


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        message = f"{path} cannot be read: {exc}"
        raise ModuleError(message) from exc


def _dev_mode_dirs(document: dict[str, Any]) -> tuple[str, ...]:
    """What hatchling's editable wheels put on the import path, as Hatch documents it for builds."""
    build = document.get("tool", {}).get("hatch", {}).get("build", {})
    wheel = build.get("targets", {}).get("wheel", {})
    return tuple(str(path) for path in wheel.get("dev-mode-dirs") or build.get("dev-mode-dirs", ()))


def _importable(directory: Path, paths: tuple[str, ...], package: str) -> bool:
    """Whether the code can be imported from where it lies (`main` is the SDK's second guess)."""
    return any(
        (directory / path / name).exists()
        for path in paths
        for name in (package, f"{package}.py", "main", "main.py")
    )
