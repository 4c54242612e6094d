"""The Python that a module runs with: the tool's own, or another one that is installed.

As https://github.com/dagger/dagger/blob/v0.21.8/sdk/python/runtime/discovery.go has it, a
`.python-version` comes first, then `requires-python`. What only `.python-version` names is a wish
where `requires-python` allows another version.
"""

from __future__ import annotations

import functools
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import command
from layerline.errors import ModuleError
from layerline.settings import process_environ
from layerline.user_directories import home_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.engine.module.project import Project

Version = tuple[int, ...]

_CLAUSE = re.compile(r"(~=|===?|!=|>=|<=|>|<)\s*v?(\d+(?:\.\d+)*)(\.\*)?[\w.+-]*")
_PINNED = re.compile(r"(?:cpython[-@]?)?3\.(\d+)")
_PROGRAM = re.compile(r"python3\.(\d+)")
_MINOR = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrappedPython:
    """The Python of a release of Debian or Ubuntu, which is bootstrapped where it is needed."""

    version: Version
    distribution: str
    suite: str

    @property
    def program(self) -> str:
        """Its path in the bootstrapped system."""
        return f"/usr/bin/python3.{self.version[1]}"


BOOTSTRAPPED = (
    BootstrappedPython(version=(3, 10), distribution="ubuntu", suite="jammy"),
    BootstrappedPython(version=(3, 11), distribution="debian", suite="bookworm"),
    BootstrappedPython(version=(3, 12), distribution="ubuntu", suite="noble"),
    BootstrappedPython(version=(3, 13), distribution="debian", suite="trixie"),
    BootstrappedPython(version=(3, 14), distribution="ubuntu", suite="resolute"),
)


def own_interpreter() -> Path:
    """The Python of the tool."""
    return Path(sys.executable).resolve()


def interpreter_of(project: Project) -> Path:
    """The Python for a project; raises ModuleError, with the version, where none is installed."""
    pinned = _PINNED.match(project.python_version)
    own = sys.version_info[:_MINOR]
    allowed = is_allowed(project.requires_python, sys.version_info[:3])
    if pinned is None and allowed:
        return own_interpreter()
    wanted = (3, int(pinned[1])) if pinned else None
    if wanted == own and (allowed or not project.requires_python):
        return own_interpreter()
    found = dict(reversed(list(installed_interpreters())))
    if wanted in found:
        return found[wanted]
    if project.requires_python:
        if allowed:
            return own_interpreter()
        for version in sorted(found):
            # Of another one only the minor version is known without running it: the newest patch.
            if is_allowed(project.requires_python, (*version, 99)):
                return found[version]
    raise ModuleError(_refusal(project))


def bootstrapped_for(project: Project) -> BootstrappedPython | None:
    """The Python of a distribution that a project can have; that of this machine's comes first.

    Of two it is the older one. None where no distribution has one that fits.
    """
    pinned = _PINNED.match(project.python_version)
    fitting = [
        each
        for each in BOOTSTRAPPED
        if is_allowed(project.requires_python, (*each.version, 99))
        and (pinned is None or project.requires_python or each.version == (3, int(pinned[1])))
    ]
    exact = [each for each in fitting if pinned and each.version == (3, int(pinned[1]))]
    own = _distribution()
    return min(
        exact or fitting, key=lambda each: (each.distribution != own, each.version), default=None
    )


def _distribution() -> str:
    """The distribution of this machine (os-release(5))."""
    try:
        text = Path("/etc/os-release").read_text()
    except OSError:
        return ""
    found = re.search(r"^ID=\"?([a-z]+)", text, re.MULTILINE)
    return found[1] if found else ""


def is_allowed(specifier: str, version: Version) -> bool:
    """Whether a version fulfils a specifier, https://packaging.python.org/specifications/."""
    return all(_fulfils(version, *clause) for clause in _CLAUSE.findall(specifier))


def _fulfils(version: Version, operator: str, text: str, wildcard: str) -> bool:
    wanted = tuple(int(part) for part in text.split("."))
    length = max(len(wanted), len(version))
    one, other = (each + (0,) * (length - len(each)) for each in (version, wanted))
    same = version[: len(wanted)] == wanted if wildcard or len(wanted) <= _MINOR else one == other
    match operator:
        case "==" | "===":
            return same
        case "!=":
            return not same
        case ">=":
            return one >= other
        case "<=":
            return one <= other or version[: len(wanted)] == wanted
        case "<":
            return one < other
        case ">":
            return one > other and version[: len(wanted)] != wanted
        case _:
            return one >= other and version[: len(wanted) - 1] == wanted[:-1]


@functools.cache
def installed_interpreters() -> tuple[tuple[Version, Path], ...]:
    """The Pythons of this machine by their minor versions, in the order of PATH; none is run."""
    return tuple(_installed())


def _installed() -> Iterator[tuple[Version, Path]]:
    environ = process_environ()
    home = home_directory(environ)
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    managed = Path(environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    path = environ.get("PATH") or command.DEFAULT_PATH
    places = [Path(part) for part in path.split(":") if part.startswith("/")]
    for place in (*places, *sorted(managed.glob("cpython-3.*/bin"))):
        for program in sorted(place.glob("python3.*")):
            match = _PROGRAM.fullmatch(program.name)
            real = program.resolve()
            # A shim of pyenv is a script; a Python has its library next to it.
            library = real.parent.parent / "lib" / program.name
            if match and _PROGRAM.fullmatch(real.name) and (library / "os.py").is_file():
                yield (3, int(match[1])), real


def _refusal(project: Project) -> str:
    if project.requires_python and not is_allowed(project.requires_python, sys.version_info[:3]):
        wanted = f"Python {project.requires_python} (requires-python in its pyproject.toml)"
    else:
        wanted = f"Python {project.python_version} (.python-version)"
    here = sorted({".".join(map(str, version)) for version, _ in installed_interpreters()})
    return (
        f"module {project.name!r} needs {wanted}, and this machine has {', '.join(here)}: install "
        "it, e.g. with 'uv python install'"
    )
