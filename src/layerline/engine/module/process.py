"""The process of one function call: the SDK's entry point, in a container of its own.

Invariant: what the process can see is the system's programs and libraries read-only, its
interpreter, its environment and its source read-only, and an empty directory of its own; none of
the caller's files, variables or processes.
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import command
from layerline.engine.module.container import VENV, describe_container
from layerline.engine.runtime.spec import Bind

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from layerline.engine.module.environment import Environment
    from layerline.engine.module.project import Project
    from layerline.engine.runtime.container import Runtime
    from layerline.engine.runtime.spec import ContainerSpec
    from layerline.settings import Settings

_METADATA = "/runtime.d"
_TAIL_BYTES = 100 * 1024

# What the SDK brings lives as long as the process: no time is spent on looking for garbage in it.
# The module's paths come last, as those of an editable installation do: a module's platform.py
# hides neither the standard library's nor what is installed.
# httpcore asks for sniffio at each step of each request, and Python looks for what is missing on
# the complete path each time, a fourth of a call's time. None is that answer, at once.
_ENTRY = """\
import atexit, gc, sys
from importlib.util import find_spec
gc.disable()
sys.path += {paths!r}
if find_spec("sniffio") is None:
    sys.modules["sniffio"] = None
{bindings}from dagger.mod.cli import app
gc.freeze()
gc.enable()
atexit.register(gc.freeze)
sys.exit(app(None, "--register" in sys.argv))
"""


# The client of a module with dependencies: the SDK's own, with their types as if they had been
# generated into it.
_BINDINGS = "/dependencies.py"
_READ_BINDINGS = f"""\
from dagger.client import gen
with open({_BINDINGS!r}) as bindings:
    exec(compile(bindings.read(), {_BINDINGS!r}, "exec"), vars(gen))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A module's program: the code at `source`, mounted at `/src/<name>`, and its environment."""

    environment: Environment
    project: Project
    source: Path
    name: str
    subpath: str

    @property
    def place(self) -> Path:
        """The directory of the pyproject.toml, as the process sees it."""
        return Path("/src", self.name) / self.subpath


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessResult:
    """The exit status of a function's process, and the end of its output."""

    status: int
    output: str


def variables(program: Program, *, module: str, session: Mapping[str, str]) -> dict[str, str]:
    """The variables of a function's process: those of the protocol, none of the caller's.

    `session` are those that lead to the session.
    """
    return {
        "DAGGER_DEFAULT_PYTHON_PACKAGE": program.project.package,
        "DAGGER_ENGINE_NUM_CPU": str(os.cpu_count() or 1),
        "DAGGER_MAIN_OBJECT": program.project.main_object,
        "DAGGER_MODULE": module,
        **session,
        "HOME": "/root",
        "LC_CTYPE": "C.UTF-8",
        "PATH": command.DEFAULT_PATH,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PYTHONUNBUFFERED": "1",
        "UV_COMPILE_BYTECODE": "1",
        "UV_LINK_MODE": "copy",
        "UV_NATIVE_TLS": "1",
        "UV_PROJECT_ENVIRONMENT": VENV,
        "UV_SYSTEM_PYTHON": "1",
    }


def container(
    program: Program,
    place: Path,
    environ: Mapping[str, str],
    settings: Settings,
    *,
    bindings: str = "",
) -> ContainerSpec:
    """The container of a call; `place` is an empty directory for what it writes.

    `bindings` is the code of what the module's client has in addition to the core's.
    """
    (place / "runtime").write_text(_entry(program, bindings=bool(bindings)))
    base, system = program.environment.base, program.environment.system
    binds = [
        *([] if system else [Bind(target=str(base), source=base, readonly=True)]),
        Bind(target=VENV, source=program.environment.root, readonly=True),
        Bind(target=f"/src/{program.name}", source=program.source, readonly=True),
        Bind(target="/runtime", source=place / "runtime", readonly=True),
    ]
    if _lacks_metadata(program.project):
        _write_metadata(program.project, place / "metadata")
        binds.append(Bind(target=_METADATA, source=place / "metadata", readonly=True))
    if bindings:
        (place / "dependencies").write_text(bindings)
        binds.append(Bind(target=_BINDINGS, source=place / "dependencies", readonly=True))
    argv = (f"{VENV}/bin/python", "/runtime")
    return describe_container(
        place, argv, environ=environ, binds=binds, settings=settings, system=system
    )


def run_program(
    spec: ContainerSpec,
    runtime: Runtime,
    *,
    on_output: Callable[[bytes, int], None],
    cancel: threading.Event,
) -> ProcessResult:
    """Run a call's container to its end."""
    with runtime.run(spec, on_output=on_output, cancel=cancel) as outcome:
        tail = outcome.combined.tail(_TAIL_BYTES)
        return ProcessResult(status=outcome.code, output=tail.decode(errors="replace"))


def _entry(program: Program, *, bindings: bool) -> str:
    paths = [posixpath.normpath(program.place / path) for path in program.project.paths]
    if _lacks_metadata(program.project):
        paths.append(_METADATA)
    return _ENTRY.format(paths=paths, bindings=_READ_BINDINGS if bindings else "")


def _lacks_metadata(project: Project) -> bool:
    """Whether the distribution is not installed in the environment, so nothing tells of it."""
    return bool(project.version) and not project.built


def _write_metadata(project: Project, directory: Path) -> None:
    """What an editable installation leaves of the distribution: name, version, entry point."""
    info = directory / f"{project.package}-{project.version}.dist-info"
    info.mkdir(parents=True)
    head = f"Metadata-Version: 2.1\nName: {project.name}\nVersion: {project.version}\n"
    (info / "METADATA").write_text(head)
    if project.entry_point:
        entry = f"[dagger.mod]\nmain_object = {project.entry_point}\n"
        (info / "entry_points.txt").write_text(entry)
