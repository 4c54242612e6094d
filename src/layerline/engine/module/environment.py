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

from layerline.engine.module.installation import SDK_VERSION, Installation
from layerline.engine.module.interpreters import interpreter_of, own_interpreter
from layerline.engine.store.digest import digest_of

if TYPE_CHECKING:
    from layerline.engine.module.installation import RunContainer
    from layerline.engine.module.project import Project
    from layerline.engine.solve.ops import Stored
    from layerline.engine.store.store import Store
    from layerline.log import Journal
    from layerline.settings import Settings

_EPOCH = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A virtual environment; `base` is the prefix of the interpreter that it is based on."""

    root: Path
    base: Path

    @property
    def python(self) -> Path:
        """The interpreter."""
        return self.root / "bin" / "python"


def environment_key(project: Project, source_digest: str) -> str:
    """The key of an environment: requirements, interpreter, and the files of a built project."""
    chosen = interpreter_of(project)
    own = chosen == own_interpreter()
    lock = (project.directory / project.lock).read_text() if project.lock else ""
    return digest_of(
        [
            _EPOCH,
            SDK_VERSION,
            sorted(project.dependencies),
            project.requires_python,
            lock,
            sys.version if own else chosen.stat().st_mtime_ns,
            str(chosen),
            source_digest if project.built else "",
        ]
    )


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
                    )
                    installation.make().rename(place)
    return Environment(root=place, base=interpreter_of(project).parent.parent)
