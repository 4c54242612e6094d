"""Where a project's editable installation is imported from, as its build backend has it.

Only what pyproject.toml declares is read: a layout that takes running the backend (setup.py,
build hooks) is for an ordinary installation.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_DEFAULT_BACKEND = "setuptools"  # PEP 517: of a project without a [build-system] table


def editable_paths(document: dict[str, Any]) -> tuple[str, ...]:
    """The declared directories, relative to the pyproject.toml and in their order.

    Empty where the backend's default layout applies: the package lies in `src` or next to the
    pyproject.toml.
    """
    backend = str(document.get("build-system", {}).get("build-backend") or _DEFAULT_BACKEND)
    read = _READERS.get(backend.partition(".")[0])
    found = read(document.get("tool", {})) if read else ()
    return tuple(dict.fromkeys(path or "." for path in found))


def _hatchling(tool: dict[str, Any]) -> Iterable[str]:
    """`dev-mode-dirs` as they are; else the parents of `packages`, and the `sources`."""
    build = tool.get("hatch", {}).get("build", {})
    options = {**build, **build.get("targets", {}).get("wheel", {})}
    if options.get("dev-mode-dirs"):
        return map(str, options["dev-mode-dirs"])
    # A source with a new prefix has no place to be imported from: hatchling refuses to install it.
    sources = options.get("sources", ())
    stripped = [source for source in sources if not (isinstance(sources, dict) and sources[source])]
    return [*map(_parent, options.get("packages", ())), *map(str, stripped)]


def _setuptools(tool: dict[str, Any]) -> Iterable[str]:
    """Where `package-dir` keeps the packages' names, and where they are to be found."""
    table = tool.get("setuptools", {})
    for package, path in table.get("package-dir", {}).items():
        place = PurePosixPath(path)
        names = tuple(package.split(".")) if package else ()
        if place.parts[len(place.parts) - len(names) :] == names:
            yield str(PurePosixPath(*place.parts[: len(place.parts) - len(names)]))
    packages = table.get("packages", {})
    if isinstance(packages, dict):
        yield from map(str, packages.get("find", {}).get("where", ()))


def _poetry(tool: dict[str, Any]) -> Iterable[str]:
    packages = tool.get("poetry", {}).get("packages", ())
    return (str(package.get("from", ".")) for package in packages)


def _uv(tool: dict[str, Any]) -> Iterable[str]:
    options = tool.get("uv", {}).get("build-backend", {})
    return (str(options["module-root"]),) if "module-root" in options else ()


def _pdm(tool: dict[str, Any]) -> Iterable[str]:
    options = tool.get("pdm", {}).get("build", {})
    return (str(options["package-dir"]),) if "package-dir" in options else ()


def _parent(path: object) -> str:
    return str(PurePosixPath(str(path)).parent)


_READERS: dict[str, Callable[[dict[str, Any]], Iterable[str]]] = {
    "hatchling": _hatchling,
    "pdm": _pdm,
    "poetry": _poetry,
    "setuptools": _setuptools,
    "uv_build": _uv,
}
