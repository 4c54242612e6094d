"""The Python environment of a module, shared by all modules that need the same packages.

Invariant: environments are created atomically and never changed afterwards; its name is
the digest of everything that went into it.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.engine.module.bootstrapped import system_root
from layerline.engine.module.installation import SDK_VERSION, Installation
from layerline.engine.module.interpreters import (
    bootstrapped_for,
    interpreter_of,
    own_interpreter,
)
from layerline.engine.store.digest import digest_of
from layerline.errors import ModuleError

if TYPE_CHECKING:
    from layerline.engine.module.installation import RunContainer
    from layerline.engine.module.interpreters import BootstrappedPython
    from layerline.engine.module.project import Project
    from layerline.engine.solve.ops import Stored
    from layerline.engine.store.store import Store
    from layerline.log import Journal
    from layerline.settings import Settings

_EPOCH = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A virtual environment; `base` is the prefix of the interpreter that it is based on.

    That is a path in `system` where a bootstrapped one has it.
    """

    root: Path
    base: Path
    system: Path | None = None

    @property
    def python(self) -> Path:
        """The interpreter."""
        return self.root / "bin" / "python"


def environment_key(project: Project, source_digest: str) -> str:
    """The key of an environment: requirements, interpreter, and the files of a built project."""
    return digest_of(
        [
            _EPOCH,
            SDK_VERSION,
            sorted(project.dependencies),
            project.requires_python,
            project.read_lock(),
            *_identity(project),
            source_digest if project.built else "",
        ]
    )


def _identity(project: Project) -> tuple[str | int, str]:
    """The version of the project's Python, and where it is."""
    try:
        chosen = interpreter_of(project)
    except ModuleError:
        python = bootstrapped_for(project)
        if python is None:
            raise
        return python.distribution, python.suite
    return sys.version if chosen == own_interpreter() else chosen.stat().st_mtime_ns, str(chosen)


def environment(
    project: Project,
    *,
    store: Store,
    settings: Settings,
    journal: Journal,
    source: Stored,
    subpath: str,
    run: RunContainer,
) -> Environment:
    """The environment of a project, created on first use.

    The project is at `subpath` of the module's `source`; `run` runs a container to its end.
    """
    python, system = _bootstrapped(project, store, journal)
    key = environment_key(project, source.digest)
    place = store.root / "modules" / key
    if not place.is_dir():
        place.parent.mkdir(mode=0o700, exist_ok=True)
        with store.locks.exclusive(f"module-environment-{key}"):
            if not place.is_dir():
                (snapshot,) = source.snapshots
                with (
                    journal.step(f"install {project.name}'s dependencies"),
                    tempfile.TemporaryDirectory(dir=store.scratch, prefix="install-") as scratch,
                ):
                    installation = Installation(
                        project=project,
                        settings=settings,
                        source=store.snapshots.path(snapshot),
                        subpath=subpath,
                        scratch=Path(scratch),
                        run=run,
                        bootstrapped=python,
                        system=system,
                    )
                    installation.make().rename(place)
    base = Path(python.program) if python else interpreter_of(project)
    return Environment(root=place, base=base.parent.parent, system=system)


def _bootstrapped(
    project: Project, store: Store, journal: Journal
) -> tuple[BootstrappedPython | None, Path | None]:
    """A distribution's Python and its system, where none is installed that fits."""
    try:
        interpreter_of(project)
    except ModuleError as refusal:
        python = bootstrapped_for(project)
        if python is None:
            raise
        return python, system_root(python, refusal, store=store, journal=journal)
    return None, None
