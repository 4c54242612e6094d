"""The subject of the checks: a project, the host's files and programs; each is read once.

Invariant: every place is a field, so tests can look at a recorded host.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerline import command, host
from layerline.doctor.build_context import BuildContext, Excluded, IgnoreFile, measure_context
from layerline.doctor.dockerfile import Dockerfile, find_dockerfiles
from layerline.doctor.finding import NotApplicable
from layerline.doctor.ignore import is_secret
from layerline.doctor.mounts import Mount, read_mounts
from layerline.errors import CommandFailed, ProgramMissing
from layerline.user_directories import settings_file, store_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GB = 10**9
MB = 10**6
_PASSED_ON = re.compile(r"DOCKER_\w+|CONTAINERS?_\w+|XDG_\w+|HOME|USER|SSH_AUTH_SOCK|TMPDIR")
_PATIENCE = 8.0


@dataclass(frozen=True)
class Limits:
    """The limits above or below which a value is a finding; sizes in bytes, times in seconds."""

    free: int = 20 * GB
    free_critical: int = 2 * GB
    inodes_share: float = 0.05
    context: int = 100 * MB
    build_cache: int = 20 * GB
    skew: float = 60.0
    network: float = 1.2
    daemon: float = 2.0


@dataclass(frozen=True)
class Subject:
    """One host and one project on it. `tool` begins a command line of Layerline itself."""

    project: Path
    environ: Mapping[str, str]
    store: Path
    dockerfile: str | None = None
    limits: Limits = field(default_factory=Limits)
    tool: tuple[str, ...] = ()
    uid: int = field(default_factory=os.geteuid)
    proc: Path = Path("/proc")
    etc: Path = Path("/etc")
    tun: Path = Path("/dev/net/tun")
    programs: str = command.DEFAULT_PATH  # where the engine looks, whatever the user's PATH is
    on_progress: Callable[[str], None] = lambda _: None

    @classmethod
    def of(
        cls,
        project: Path,
        environ: Mapping[str, str],
        *,
        dockerfile: str | None = None,
        limits: Limits = Limits(),
        tool: tuple[str, ...] = (),
        on_progress: Callable[[str], None] = lambda _: None,
    ) -> Subject:
        """A project on this host, with the store where Layerline's settings have it."""
        return cls(
            project=project.resolve(),
            environ=environ,
            store=store_directory(environ, _read_setting(settings_file(environ), "store")),
            dockerfile=dockerfile,
            limits=limits,
            tool=tool,
            on_progress=on_progress,
        )

    @cached_property
    def mounts(self) -> tuple[Mount, ...]:
        """The table of mounts."""
        return read_mounts((self.proc / "mounts").read_text(errors="surrogateescape"))

    @cached_property
    def kernel(self) -> str:
        """The kernel's release."""
        return (self.proc / "sys/kernel/osrelease").read_text().strip()

    @cached_property
    def dockerfiles(self) -> tuple[Dockerfile, ...]:
        """The Dockerfiles of the project, the one that was named or the main one first."""
        return find_dockerfiles(self.project, self.dockerfile)

    @cached_property
    def ignore(self) -> IgnoreFile:
        """The ignore file for the first Dockerfile."""
        name = self.dockerfiles[0].path if self.dockerfiles else "Dockerfile"
        return IgnoreFile.of(self.project, name)

    @cached_property
    def context(self) -> BuildContext:
        """The build context as it would be sent now."""
        self.require_build()
        excluded = Excluded(self.ignore.patterns)
        return measure_context(
            self.project, excluded, is_secret=is_secret, on_progress=self.on_progress
        )

    def require_build(self) -> None:
        """Skip the check unless the project has a Dockerfile or an ignore file."""
        if not self.dockerfiles and self.ignore.data is None:
            message = "the project has neither a Dockerfile nor an ignore file"
            raise NotApplicable(message)

    def find(self, program: str) -> Path | None:
        """A program on the user's own search path."""
        return command.find(program, path=self.environ.get("PATH") or command.DEFAULT_PATH)

    def text(self, path: Path) -> str:
        """The text of a small file; empty where it cannot be read."""
        try:
            return path.read_text(errors="replace").strip()
        except OSError:
            return ""

    @cached_property
    def capabilities(self) -> host.Capabilities:
        """The kernel's permissions for this process, measured by trying."""
        return host.measure(self.environ.get("LAYERLINE_RUNTIME") or "runc")

    def run_program(self, *argv: str, timeout: float = _PATIENCE) -> command.Finished:
        """Run a program as the user would; CommandFailed says why it did not work."""
        program = self.find(argv[0])
        if program is None:
            message = f"{argv[0]} is not installed"
            raise ProgramMissing(message)
        passed = {k: v for k, v in self.environ.items() if _PASSED_ON.fullmatch(k) or k == "PATH"}
        return command.run([program, *argv[1:]], env=passed, timeout=timeout)

    def run_program_json(self, *argv: str, timeout: float = _PATIENCE) -> list[dict[str, Any]]:
        """The JSON documents that a program prints, one a line or one in all."""
        text = self.run_program(*argv, timeout=timeout).stdout.decode(errors="replace").strip()
        try:
            document = json.loads(text or "[]")
            return document if isinstance(document, list) else [document]
        except ValueError:
            return [json.loads(line) for line in text.splitlines() if line.strip()]

    @cached_property
    def docker(self) -> Docker:
        """The state of docker and its daemon, from `docker info`."""
        if self.find("docker") is None:
            return Docker()
        try:
            argv = ("docker", "info", "--format", "{{json .}}")
            info = self.run_program_json(*argv, timeout=self.limits.daemon)[0]
        except (CommandFailed, ValueError, IndexError) as exc:
            text = exc.stderr if isinstance(exc, CommandFailed) else str(exc)
            return Docker(installed=True, error=_last_line(text))
        if not info.get("ServerVersion"):
            errors = info.get("ServerErrors") or ["the daemon does not answer"]
            return Docker(installed=True, error=_last_line(str(errors[0])))
        return Docker(installed=True, info=info)


@dataclass(frozen=True)
class Docker:
    """The answer of `docker info`, or the reason without one."""

    installed: bool = False
    error: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def server(self) -> str:
        """The daemon's version; empty when it does not answer."""
        return str(self.info.get("ServerVersion", ""))

    @property
    def root(self) -> Path | None:
        """The daemon's data directory, if it is on this machine."""
        path = Path(str(self.info.get("DockerRootDir") or "/nonexistent"))
        return path if os.access(path, os.F_OK) else None

    def require(self) -> None:
        """Skip the check unless the daemon answers."""
        if not self.installed:
            message = "docker is not installed"
            raise NotApplicable(message)
        if self.error:
            message = "docker's daemon does not answer"
            raise NotApplicable(message)


def _read_setting(file: Path, key: str) -> str | None:
    """One text of Layerline's settings file; Python before 3.11 cannot read TOML itself."""
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError):
        return None  # the tool itself refuses such a file, and says so
    found = re.search(rf"""^{key}\s*=\s*["'](.*)["']\s*(?:#.*)?$""", text, re.MULTILINE)
    return found[1] if found else None


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no answer"
