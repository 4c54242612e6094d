"""The installation of a module's requirements into a new virtual environment.

Invariant: no code of a package runs on the host. There uv unpacks wheels and nothing else; what has
to be built is built in a container, with a cache of its own, and bytecode is compiled in one, since
a wheel may bring a `.pth` file, which Python executes when it starts.
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
from layerline.engine.module.container import VENV, WORKDIR, describe_container
from layerline.engine.module.indexes import installer_environ
from layerline.engine.runtime.spec import Bind
from layerline.errors import CommandFailed, ModuleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from layerline.engine.module.process import ProcessResult
    from layerline.engine.module.project import Project
    from layerline.engine.runtime.spec import ContainerSpec
    from layerline.settings import Settings

    RunContainer = Callable[[ContainerSpec], ProcessResult]

SDK_VERSION = "0.21.11"
_UV = "/opt/uv"
_PROJECT = f"{WORKDIR}/project"
_SDK = re.compile(r"dagger[-_.]io\s*(\[|[=<>!~;@ ]|$)", re.IGNORECASE)
# What uv says of a package that has no wheel.
_NEEDS_BUILD = re.compile(r"(from source|source distributions\b.*) is disabled|no usable wheels")
_LONGEST_SECONDS = 1800.0
# Variables of the user that name files of the host.
_OF_THE_HOST = ("HOME", "XDG_CACHE_HOME", "NETRC", "UV_CACHE_DIR", "SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """One installation; `scratch` is an empty directory, `source` the project as the store has it.

    `run` runs a container to its end.
    """

    project: Project
    settings: Settings
    source: Path
    scratch: Path
    run: RunContainer

    def make(self) -> Path:
        """Create the environment; returns its directory below `scratch`."""
        if self.project.built or not self._install_wheels():
            self._create()
            self._uv("pip", "install", "--no-build", *self._into(), f"dagger-io=={SDK_VERSION}")
            _adapt_sdk(self._place)
            self._build()
        else:
            _adapt_sdk(self._place)
        self._compile()
        return self._place

    @property
    def _place(self) -> Path:
        return self.scratch / "venv"

    def _create(self) -> None:
        shutil.rmtree(self._place, ignore_errors=True)
        self._uv("venv", "--no-project", "--python", str(interpreter()), str(self._place))

    def _into(self) -> tuple[str, ...]:
        # Never links: a container writes into the environment, and must not reach uv's cache.
        return ("--link-mode=copy", "--python", str(self._place / "bin" / "python"))

    def _install_wheels(self) -> bool:
        """Install everything from wheels; False if something has none."""
        self._create()
        pinned = self._place / "requirements.txt"
        try:
            needs = list(self._requirements(pinned, str(pinned)))
            self._uv("pip", "install", "--no-build", *self._into(), *needs)
        except ModuleError as exc:
            if _NEEDS_BUILD.search(str(exc)):
                return False
            raise
        return True

    def _build(self) -> None:
        """Install in a container, where build backends may run."""
        pinned = self._place / "requirements.txt"
        needs = self._requirements(pinned, f"{VENV}/requirements.txt")
        python = ("--python", f"{VENV}/bin/python")
        place = self.scratch / "project"
        shutil.copytree(self.source, place, symlinks=True)  # backends write into it
        links = (Path(p) for p in self._environ().get("UV_FIND_LINKS", "").split(",") if p)
        binds = [
            Bind(target=_UV, source=_uv_program(), readonly=True),
            Bind(target=_PROJECT, source=place),
            *(Bind(target=str(p), source=p, readonly=True) for p in links if p.is_dir()),
        ]
        done = self._in_container([_UV, "pip", "install", *python, *needs], "build", binds)
        if done.status != 0:
            raise self._failure(done.output)

    def _compile(self) -> None:
        python = f"{VENV}/bin/python"
        # What does not compile fails when it is imported, as with pip.
        argv = [python, "-m", "compileall", "-q", "-j", "0", f"{VENV}/lib"]
        self._in_container(argv, "compile", ())

    def _in_container(self, argv: Sequence[str], name: str, binds: Sequence[Bind]) -> ProcessResult:
        place = self.scratch / name
        place.mkdir()
        base = interpreter().parent.parent
        variables = {
            **{k: v for k, v in self._environ().items() if k not in _OF_THE_HOST},
            "HOME": "/root",
            "PATH": command.DEFAULT_PATH,
            "UV_CACHE_DIR": f"{WORKDIR}/cache",
            "UV_NATIVE_TLS": "1",
        }
        own = (
            Bind(target=str(base), source=base, readonly=True),
            Bind(target=VENV, source=self._place),
        )
        return self.run(
            describe_container(
                place, argv, environ=variables, binds=(*own, *binds), settings=self.settings
            )
        )

    def _environ(self) -> dict[str, str]:
        return installer_environ(self.settings)

    def _requirements(self, pinned: Path, shown: str) -> Iterator[str]:
        """The arguments of `pip install`: locked or declared requirements, and always the SDK.

        Locked ones are written to `pinned`, which the installer sees as `shown`.
        """
        project = self.project
        yield f"dagger-io=={SDK_VERSION}"
        if project.built:
            yield _PROJECT
        elif project.lock is None:
            yield from (need for need in project.dependencies if not _SDK.match(need))
        else:
            text = (project.directory / project.lock).read_text()
            if project.lock == "uv.lock":
                exported = self._uv(
                    *("export", "--frozen", "--no-dev", "--no-emit-project", "--no-hashes"),
                    *("--project", str(project.directory)),
                )
                text = exported.stdout.decode()
            lines = text.splitlines(keepends=True)
            pinned.write_text("".join(line for line in lines if _is_locked_requirement(line)))
            yield from ("--requirement", shown)

    def _uv(self, *argv: str) -> command.Finished:
        """Run one of uv's commands on the host, with the user's index settings."""
        # A project's own environment would be asked for its version: its Python is a program.
        environ = {**self._environ(), "UV_PROJECT_ENVIRONMENT": str(self.scratch / "none")}
        try:
            return command.run([_uv_program(), *argv], env=environ, timeout=_LONGEST_SECONDS)
        except CommandFailed as exc:
            raise self._failure(exc.stderr) from exc

    def _failure(self, output: str) -> ModuleError:
        return ModuleError(
            f"the dependencies of module {self.project.name!r} cannot be installed: "
            f"{output.strip()}\nCheck its pyproject.toml, and the index settings "
            "(PIP_INDEX_URL, UV_INDEX_URL, pip.conf)."
        )


def _is_locked_requirement(line: str) -> bool:
    """Whether a line of a lock is used: the SDK has the engine's version, and paths are skipped."""
    return not line.startswith(("-e", "./")) and not _SDK.match(line)


def _adapt_sdk(place: Path) -> None:
    """Replace the SDK's client by the one for modules; no code has run in `place` yet."""
    (client,) = place.glob("lib/python*/site-packages/dagger/client")
    for name, adapted in (("gen.py", without_host), ("_guards.py", with_late_checks)):
        path = client / name
        path.write_text(adapted(path.read_text()))


def _uv_program() -> Path:
    return Path(sys.executable).with_name("uv")


def interpreter() -> Path:
    """The Python of the tool, which modules run with."""
    return Path(sys.executable).resolve()
