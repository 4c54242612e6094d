"""How a repository's program starts, where no Dockerfile says it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from layerline.cli.scaffold.project_file import FILE, read_toml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SCRIPTS = ("main.py", "app.py", "train.py", "run.py", "serve.py", "predict.py", "inference.py")
_DIRECTORIES = ("", "src", "scripts")
_WEB = re.compile(r"^(?P<name>\w+)\s*(?::[^=\n]+)?=\s*(?:FastAPI|Starlette)\(", re.MULTILINE)
_MAIN = re.compile(r"""^if __name__ == ["']__main__["']""", re.MULTILINE)
_PORT = 8000


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A command with the reason for it; `paths` are directories that modules are imported from."""

    command: list[str]
    reason: str
    ports: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


def find_program(home: Path, *, installed: bool = False) -> Program | None:
    """The most explicit of what the repository names; None where nothing does.

    The scripts of a project that is installed are programs themselves.
    """
    return next(_programs(home, installed=installed), None)


def import_paths(home: Path, directory: str = "") -> list[str]:
    """The directories, relative to the repository, that hold a project's packages.

    Those in its root are found without a path, as programs start there.
    """
    has_packages = any((home / directory / "src").glob("*/__init__.py"))
    if has_packages:
        return [f"{directory}/src" if directory else "src"]
    return [directory] if directory else []


def _programs(home: Path, *, installed: bool) -> Iterator[Program]:
    paths = [] if installed else import_paths(home)
    document = read_toml(home / FILE)
    tables = (document.get("project", {}), document.get("tool", {}).get("poetry", {}))
    for name, entry in ((k, v) for table in tables for k, v in table.get("scripts", {}).items()):
        if isinstance(entry, str) and ":" in entry:
            reason = f"{FILE} has the script {name}"
            if installed:
                yield Program(command=[name], reason=reason)
            module, _, attribute = entry.partition(":")
            code = f"import sys; from {module} import {attribute.partition('.')[0]}; "
            yield Program(
                command=["python", "-c", f"{code}sys.exit({attribute}())"],
                reason=reason,
                paths=paths or ["."],
            )
    for package in sorted(home.glob("*/__main__.py")) + sorted(home.glob("src/*/__main__.py")):
        yield Program(
            command=["python", "-m", package.parent.name],
            reason=f"{package.relative_to(home).as_posix()} exists",
            paths=paths,
        )
    yield from _scripts(home, paths)


def _scripts(home: Path, paths: list[str]) -> Iterator[Program]:
    for directory in _DIRECTORIES:
        for name in _SCRIPTS:
            path = home / directory / name
            if path.is_file():
                yield _script(path.relative_to(home).as_posix(), path, paths)
    alone = [path for path in sorted(home.glob("*.py")) if _MAIN.search(_text(path))]
    if len(alone) == 1:
        yield _script(alone[0].name, alone[0], paths)


def _script(shown: str, path: Path, paths: list[str]) -> Program:
    text = _text(path)
    application = _WEB.search(text)
    if application and not _MAIN.search(text):
        module = shown.removesuffix(".py").replace("/", ".")
        return Program(
            command=[
                "uvicorn",
                f"{module}:{application['name']}",
                f"--port={_PORT}",
                "--host=0.0.0.0",
            ],
            reason=f"{shown} defines {application['name']}",
            ports=[_PORT],
            paths=paths,
        )
    above = paths or (["."] if "/" in shown else [])
    return Program(command=["python", shown], reason=f"{shown} exists", paths=above)


def _text(path: Path) -> str:
    return path.read_text(errors="replace")
