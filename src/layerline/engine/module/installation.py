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
from layerline.engine.module.bindings import (
    with_late_checks,
    with_late_converters,
    with_plain_queries,
    without_host,
    without_schema,
)
from layerline.engine.module.container import VENV, WORKDIR, describe_container
from layerline.engine.module.indexes import installer_environ
from layerline.engine.module.interpreters import interpreter_of
from layerline.engine.module.locks import (
    CONFLICT,
    HASH,
    SDK,
    is_plain_requirement,
    pins,
    without_versions,
)
from layerline.engine.module.uv_cache import cache_of, is_writable
from layerline.engine.runtime.spec import Bind
from layerline.engine.store.rmtree import discard_tree
from layerline.errors import CommandFailed, ModuleError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layerline.engine.module.interpreters import BootstrappedPython
    from layerline.engine.module.process import ProcessResult
    from layerline.engine.module.project import Project
    from layerline.engine.runtime.spec import ContainerSpec
    from layerline.settings import Settings

    RunContainer = Callable[[ContainerSpec], ProcessResult]

SDK_VERSION = "0.21.11"
_UV = "/opt/uv"
_PROJECT = f"{WORKDIR}/project"
_PINS = f"{WORKDIR}/requirements.txt"
_OVERRIDES = f"{WORKDIR}/overrides.txt"
# The source of the SDK that modules of Dagger's template name: a directory that `develop` writes.
_SDK_SOURCE = re.compile(
    r"^\s*\"?dagger[-_.]io\"?\s*=\s*\{[^}]*\}.*$", re.MULTILINE | re.IGNORECASE
)
_SDK_TABLE = re.compile(
    r"^\s*\[tool\.uv\.sources\.\"?dagger[-_.]io\"?\][^\[]*", re.MULTILINE | re.IGNORECASE
)
# What uv says of a package that has no wheel.
_NEEDS_BUILD = re.compile(r"(from source|source distributions\b.*) is disabled|no usable wheels")
_LONGEST_SECONDS = 1800.0
# A change of these needs another epoch of environments: `environment_key`.
_ADAPTED = {
    "gen.py": (without_host,),
    "_guards.py": (with_late_checks,),
    "_core.py": (with_late_converters, with_plain_queries),
    "_session.py": (without_schema,),
}
# Variables of the user that name files of the host.
_OF_THE_HOST = ("HOME", "XDG_CACHE_HOME", "NETRC", "UV_CACHE_DIR", "SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """One installation; `scratch` is an empty directory, `source` the module as the store has it.

    The project is at `subpath` of it. `run` runs a container to its end. A `bootstrapped` Python is
    in a `system` of its own, whose programs do not run on the host: there all is installed in
    containers.
    """

    project: Project
    settings: Settings
    source: Path
    scratch: Path
    run: RunContainer
    subpath: str = "."
    bootstrapped: BootstrappedPython | None = None
    system: Path | None = None

    def make(self) -> Path:
        """Create the environment; returns its directory below `scratch`."""
        # Whatever version a project asks for: the engine brings the SDK, as Dagger's does.
        self._overrides.write_text(f"dagger-io=={SDK_VERSION}\n")
        self._write_pins()
        try:
            self._install()
        except ModuleError as exc:
            if self.project.lock is None or not CONFLICT.search(str(exc)):
                raise
            # The lock is older than the SDK, whose requirements it contradicts.
            self._update_pins()
            self._install()
        self._compile()
        return self._place

    def _install(self) -> None:
        if self.bootstrapped is not None:
            self._create_in_container(self.bootstrapped)
            _adapt_sdk(self._place)
            self._build()
        elif self.project.built or not self._install_wheels():
            self._create()
            self._uv("pip", "install", "--no-build", *self._into(), f"dagger-io=={SDK_VERSION}")
            _adapt_sdk(self._place)
            self._build()
        else:
            _adapt_sdk(self._place)

    @property
    def _place(self) -> Path:
        return self.scratch / "venv"

    @property
    def _pins(self) -> Path:
        return self.scratch / "requirements.txt"

    @property
    def _overrides(self) -> Path:
        return self.scratch / "overrides.txt"

    def _write_pins(self) -> None:
        """Write the locked requirements, which uv reads as a file; none without a lock."""
        project = self.project
        if project.lock == "uv.lock":
            exported = self._uv(
                *("export", "--frozen", "--no-dev", "--no-emit-project", "--no-hashes"),
                *("--project", str(project.directory)),
            )
            text = exported.stdout.decode()
        else:
            text = project.read_lock()
        self._pins.write_text(pins(text))

    def _update_pins(self) -> None:
        """Resolve again what is locked, with the SDK: of the pins as many stay as can."""
        wanted = self.scratch / "requirements.in"
        text = self._pins.read_text()
        wanted.write_text(f"dagger-io=={SDK_VERSION}\n{without_versions(text)}")
        hashes = ("--generate-hashes",) if HASH in text else ()
        chosen = self.bootstrapped
        python = (
            ("--python-version", ".".join(map(str, chosen.version)))
            if chosen
            else ("--python", str(interpreter_of(self.project)))
        )
        self._uv(
            *("pip", "compile", "--no-build", "--quiet", *hashes, *python),
            *("--override", str(self._overrides), "--output-file", str(self._pins), str(wanted)),
        )
        self._pins.write_text(pins(self._pins.read_text()))

    def _create(self) -> None:
        discard_tree(self._place)
        self._uv(
            "venv", "--no-project", "--python", str(interpreter_of(self.project)), str(self._place)
        )

    def _create_in_container(self, python: BootstrappedPython) -> None:
        """Create the environment with the SDK, where the interpreter runs."""
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir()
        into = ("--python", f"{VENV}/bin/python")
        commands = {
            "venv": ("venv", "--no-project", "--allow-existing", "--python", python.program, VENV),
            "sdk": ("pip", "install", "--no-build", *into, f"dagger-io=={SDK_VERSION}"),
        }
        for name, argv in commands.items():
            done = self._in_container([_UV, *argv], name, self._installer_binds())
            if done.status != 0:
                raise self._failure(done.output)

    def _installer_binds(self) -> list[Bind]:
        """What uv needs in a container: itself, and directories of wheels that the user names."""
        links = (Path(p) for p in self._environ().get("UV_FIND_LINKS", "").split(",") if p)
        return [
            Bind(target=_UV, source=_uv_program(), readonly=True),
            *(Bind(target=str(p), source=p, readonly=True) for p in links if p.is_dir()),
        ]

    def _into(self) -> tuple[str, ...]:
        # Never links: a container writes into the environment, and must not reach uv's cache.
        return ("--link-mode=copy", "--python", str(self._place / "bin" / "python"))

    def _install_wheels(self) -> bool:
        """Install everything from wheels; False if something has none."""
        if not self._is_plain():
            return False
        self._create()
        try:
            needs = self._requirements(str(self._pins), str(self._overrides))
            self._uv("pip", "install", "--no-build", *self._into(), *needs)
        except ModuleError as exc:
            if _NEEDS_BUILD.search(str(exc)):
                return False
            raise
        return True

    def _is_plain(self) -> bool:
        """Whether uv on the host meets nothing but names and versions.

        An option among the requirements is one of uv's, a URL may lead to this machine, and an
        editable installation runs a build backend.
        """
        needs = self.project.dependencies if self.project.lock is None else ()
        lines = [line.partition(HASH)[0] for line in self._pins.read_text().splitlines()]
        return all(map(is_plain_requirement, (*needs, *filter(None, lines))))

    def _build(self) -> None:
        """Install in a container, where build backends may run."""
        needs = self._requirements(_PINS, _OVERRIDES)
        python = ("--python", f"{VENV}/bin/python")
        place = self._copy_source()
        binds = [
            *self._installer_binds(),
            Bind(target=_PROJECT, source=place),
            Bind(target=_PINS, source=self._pins, readonly=True),
            Bind(target=_OVERRIDES, source=self._overrides, readonly=True),
        ]
        done = self._in_container([_UV, "pip", "install", *python, *needs], "build", binds)
        if done.status != 0:
            raise self._failure(done.output)

    def _copy_source(self) -> Path:
        """The module, as build backends may write into it and without a source for the SDK."""
        place = self.scratch / "project"
        discard_tree(place)
        shutil.copytree(self.source, place, symlinks=True)
        configuration = place / self.subpath / "pyproject.toml"
        if configuration.is_file() and not configuration.is_symlink():
            text = configuration.read_text()
            configuration.write_text(_SDK_TABLE.sub("", _SDK_SOURCE.sub("", text)))
        return place

    def _compile(self) -> None:
        python = f"{VENV}/bin/python"
        # What does not compile fails when it is imported, as with pip.
        argv = [python, "-m", "compileall", "-q", "-j", "0", f"{VENV}/lib"]
        self._in_container(argv, "compile", ())

    def _in_container(self, argv: Sequence[str], name: str, binds: Sequence[Bind]) -> ProcessResult:
        place = self.scratch / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        variables = {
            **{k: v for k, v in self._environ().items() if k not in _OF_THE_HOST},
            "HOME": "/root",
            "PATH": command.DEFAULT_PATH,
            "UV_CACHE_DIR": f"{WORKDIR}/cache",
            # uv makes members of a workspace editable, where the copy of the source will not be.
            "UV_NO_EDITABLE": "1",
            "UV_NATIVE_TLS": "1",
        }
        own = [Bind(target=VENV, source=self._place)]
        if self.system is None:
            base = interpreter_of(self.project).parent.parent
            own.append(Bind(target=str(base), source=base, readonly=True))
        return self.run(
            describe_container(
                place,
                argv,
                environ=variables,
                binds=(*own, *binds),
                settings=self.settings,
                system=self.system,
            )
        )

    def _environ(self) -> dict[str, str]:
        return installer_environ(self.settings)

    def _requirements(self, shown: str, overrides: str) -> list[str]:
        """The arguments of `pip install`: locked or declared requirements, and always the SDK.

        The installer sees the pins as `shown`, and the SDK's version as `overrides`.
        """
        project = self.project
        needs = ["--override", overrides, f"dagger-io=={SDK_VERSION}"]
        if project.built:
            constraints = ["--constraint", shown] if project.lock == "uv.lock" else []
            return [*needs, f"{_PROJECT}/{self.subpath}", *constraints]
        if project.lock is None:
            more = (need for need in project.dependencies if not SDK.match(need))
            return [*needs[:2], "--", *needs[2:], *more]
        return [*needs, "--requirement", shown]

    def _uv(self, *argv: str) -> command.Finished:
        """Run one of uv's commands on the host, with the user's index settings."""
        # A project's own environment would be asked for its version: its Python is a program.
        # The user's own configuration counts; that of the working directory or the module does not:
        # uv looks for it from where it runs, or in the project that it is given.
        environ = {**self._environ(), "UV_PROJECT_ENVIRONMENT": str(self.scratch / "none")}
        if "--project" in argv:
            environ["UV_NO_CONFIG"] = "1"
        if not is_writable(cache_of(environ)):
            environ["UV_CACHE_DIR"] = str(self.scratch / "cache")
        try:
            return command.run(
                [_uv_program(), *argv], env=environ, cwd=self.scratch, timeout=_LONGEST_SECONDS
            )
        except CommandFailed as exc:
            raise self._failure(exc.stderr) from exc

    def _failure(self, output: str) -> ModuleError:
        return ModuleError(
            f"the dependencies of module {self.project.name!r} cannot be installed: "
            f"{output.strip()}\nCheck its pyproject.toml, and the index settings "
            "(PIP_INDEX_URL, UV_INDEX_URL, pip.conf)."
        )


def _adapt_sdk(place: Path) -> None:
    """Replace the SDK's client by the one for modules; no code has run in `place` yet."""
    (client,) = place.glob("lib/python*/site-packages/dagger/client")
    for name, changes in _ADAPTED.items():
        path = client / name
        text = path.read_text()
        for change in changes:
            text = change(text)
        path.write_text(text)


def _uv_program() -> Path:
    return Path(sys.executable).with_name("uv")
