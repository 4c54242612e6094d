"""The Python environment of a module, shared by all modules that need the same packages.

Invariant: environments are created atomically and never changed afterwards; its name is
the digest of everything that went into it.
"""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import command
from layerline.engine.module.bindings import with_late_checks, without_host
from layerline.engine.module.indexes import installer_environ
from layerline.engine.store.digest import digest_of
from layerline.errors import CommandFailed, ModuleError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.engine.module.project import Project
    from layerline.engine.store.store import Store
    from layerline.log import Journal
    from layerline.settings import Settings

SDK_VERSION = "0.21.11"
_EPOCH = 2
_SDK = re.compile(r"dagger[-_.]io\s*(\[|[=<>!~;@ ]|$)", re.IGNORECASE)
_LONGEST_SECONDS = 1800.0


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
    lock = (project.directory / project.lock).read_text() if project.lock else ""
    return digest_of(
        [
            _EPOCH,
            SDK_VERSION,
            sorted(project.dependencies),
            project.requires_python,
            lock,
            sys.version,
            str(_interpreter()),
            source_digest if project.built else "",
        ]
    )


def environment(
    project: Project, *, store: Store, settings: Settings, journal: Journal, source_digest: str
) -> Environment:
    """The environment of a project, created on first use."""
    key = environment_key(project, source_digest)
    place = store.root / "modules" / key
    if not place.is_dir():
        place.parent.mkdir(mode=0o700, exist_ok=True)
        with store.locks.exclusive(f"module-environment-{key}"):
            if not place.is_dir():
                _make(project, place, settings=settings, journal=journal, scratch=store.scratch)
    return Environment(root=place, base=_interpreter().parent.parent)


def _make(
    project: Project, place: Path, *, settings: Settings, journal: Journal, scratch: Path
) -> None:
    with journal.step(f"install {project.name}'s dependencies"):
        part = scratch / place.name
        shutil.rmtree(part, ignore_errors=True)
        uv = _Uv(environ=installer_environ(settings), name=project.name)
        uv.call("venv", "--no-project", "--python", str(_interpreter()), str(part))
        uv.call(
            "pip",
            "install",
            "--compile-bytecode",
            "--python",
            str(part / "bin" / "python"),
            *_requirements(project, uv, part),
        )
        _adapt_sdk(part)
        part.rename(place)


def _requirements(project: Project, uv: _Uv, part: Path) -> Iterator[str]:
    """The arguments of `pip install`: locked or declared requirements, and always the SDK."""
    yield f"dagger-io=={SDK_VERSION}"
    if project.built:
        yield str(project.directory)
    elif project.lock is None:
        yield from (need for need in project.dependencies if not _SDK.match(need))
    else:
        text = (project.directory / project.lock).read_text()
        if project.lock == "uv.lock":
            exported = uv.call(
                *("export", "--frozen", "--no-dev", "--no-emit-project", "--no-hashes"),
                *("--project", str(project.directory)),
            )
            text = exported.stdout.decode()
        pinned = part / "requirements.txt"
        pinned.write_text(
            "".join(line for line in text.splitlines(True) if _is_locked_requirement(line))
        )
        yield from ("--requirement", str(pinned))


def _is_locked_requirement(line: str) -> bool:
    """Whether a line of a lock is used: the SDK has the engine's version, and paths are skipped."""
    return not line.startswith(("-e", "./")) and not _SDK.match(line)


def _adapt_sdk(part: Path) -> None:
    """Replace the SDK's client by the one for modules; its files may be links into a cache."""
    (client,) = part.glob("lib/python*/site-packages/dagger/client")
    for name, adapted in (("gen.py", without_host), ("_guards.py", with_late_checks)):
        path = client / name
        text = adapted(path.read_text())
        path.unlink()
        path.write_text(text)
        command.run([part / "bin" / "python", "-m", "compileall", "-q", str(path)])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Uv:
    """The installer, with the user's index settings."""

    environ: dict[str, str]
    name: str

    def call(self, *argv: str) -> command.Finished:
        """Run one of its commands; a failure names the module and shows what uv said."""
        program = Path(sys.executable).with_name("uv")
        try:
            return command.run([program, *argv], env=self.environ, timeout=_LONGEST_SECONDS)
        except CommandFailed as exc:
            message = (
                f"the dependencies of module {self.name!r} cannot be installed: "
                f"{exc.stderr.strip()}\nCheck its pyproject.toml, and the index settings "
                "(PIP_INDEX_URL, UV_INDEX_URL, pip.conf)."
            )
            raise ModuleError(message) from exc


def _interpreter() -> Path:
    return Path(sys.executable).resolve()
