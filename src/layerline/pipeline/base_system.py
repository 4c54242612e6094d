"""The base with system packages, the run user and an empty prefix: what all images start from."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dagger
from dagger import dag

from layerline.pipeline import base_pins
from layerline.pipeline.base_pins import BasePins
from layerline.pipeline.definition import Base, Definition
from layerline.pipeline.supplies import Mounts

PREFIX = "/opt/venv"
PATH = f"{PREFIX}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_APT_CACHE = "/var/cache/apt"
_SNAPSHOT = "SNAPSHOT"
_PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseSystem:
    """The base of a target, with the pins that its lock has of it.

    `snapshot` is where packages come from, instead of the base's own sources.
    """

    table: Base
    target: str
    pins: BasePins | None = None
    snapshot: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, text: str, definition: Definition, target: str, snapshot: tuple[str, ...] = ()
    ) -> "BaseSystem":
        """The base of a lock; a `LockError` lists where its pins do not fit the definition."""
        return cls(
            table=definition.base,
            target=target,
            pins=base_pins.read_fitting(text, definition, target),
            snapshot=snapshot or definition.base.snapshot,
        )

    @property
    def image(self) -> str:
        """The base image, by its digest where the lock pins it."""
        return self.table.image if self.pins is None else self.pins.reference

    def container(self, wanted: Sequence[str], user: str, mounts: Mounts) -> dagger.Container:
        """The base with packages, a run user and the prefix."""
        container = dag.container().from_(self.image)
        if self.table.python:
            container = container.with_env_variable("WANTED_PYTHON", self.table.python)
        return (
            container.with_(self._with_volume)
            .with_env_variable("RUN_USER", user)
            .with_env_variable("PREFIX", PREFIX)
            .with_(mounts.add)
            .with_(self._with_snapshot)
            .with_exec(["sh", "-s", "--", *wanted], stdin=self.program(wanted))
            .with_(mounts.remove)
            .with_(self._without_snapshot)
            .without_mount(_APT_CACHE)
            .without_env_variable("RUN_USER")
            .without_env_variable("PREFIX")
            .without_env_variable("WANTED_PYTHON")
            .with_env_variable("PATH", PATH)
            .with_env_variable("PYTHONDONTWRITEBYTECODE", "1")
            .with_env_variable("PYTHONUNBUFFERED", "1")
        )

    def simulation(
        self, reference: str, sets: Sequence[str], mounts: Mounts, asked_at: str
    ) -> dagger.Container:
        """A container whose stdout has what apt would install for sets of packages."""
        return (
            dag.container()
            .from_(reference)
            .with_(self._with_volume)
            .with_(mounts.add)
            .with_volatile_variable(_SNAPSHOT, "\n".join(self.snapshot))
            .with_env_variable("ASKED_AT", asked_at)
            .with_exec(
                ["sh", "-s", "--", *sets], stdin=_programs("apt_sources.sh", "pin_packages.sh")
            )
        )

    def names(self) -> dict[str, list[str]]:
        """The packages that the lock pins, as the reason of a build names them."""
        if self.pins is None:
            return {}
        found = [f"{deb.name} {deb.version} {deb.digest}" for deb in sorted(self.pins.debs)]
        return {"packages of the base": found}

    def program(self, wanted: Sequence[str]) -> str:
        """The program that installs packages: with pins, from the files that these name alone."""
        if self.pins is None:
            return self.steps()
        return base_pins.variables(self.pins.of(wanted), self.target) + self.steps()

    def script(self, packages: Sequence[str]) -> tuple[str, str]:
        """A file that does the same, for packages in addition to the base's: its name and text."""
        if self.pins is None and not self.snapshot:
            return "system.sh", self.steps()
        sources = shlex.quote("\n".join(self.snapshot))
        extra = "-extra" if packages else ""
        text = f"SNAPSHOT={sources}\n{self.program(packages)}"
        return f"system-{self.target}{extra}.sh", text

    def steps(self) -> str:
        """The same without the pins."""
        if self.pins is not None:
            return _programs("apt_sources.sh", "pinned_packages.sh", "system.sh")
        return _programs(*(["apt_sources.sh"] if self.snapshot else []), "system.sh")

    def _with_volume(self, container: dagger.Container) -> dagger.Container:
        volume = dag.cache_volume(f"apt-cache-{self.target}-v2")
        locked = dagger.CacheSharingMode.LOCKED
        return container.with_mounted_cache(_APT_CACHE, volume, sharing=locked)

    def _with_snapshot(self, container: dagger.Container) -> dagger.Container:
        """Where packages come from; part of the step's key where that decides what they are."""
        sources = "\n".join(self.snapshot)
        if self.pins is not None:
            return container.with_volatile_variable(_SNAPSHOT, sources)
        return container.with_env_variable(_SNAPSHOT, sources) if sources else container

    def _without_snapshot(self, container: dagger.Container) -> dagger.Container:
        if self.pins is not None:
            return container.without_volatile_variable(_SNAPSHOT)
        return container.without_env_variable(_SNAPSHOT) if self.snapshot else container


def _programs(*names: str) -> str:
    return "".join((_PROGRAMS / name).read_text() for name in names)
