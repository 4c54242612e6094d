"""Resolves all groups of a target together, or explains which requirements conflict."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import dagger

from layerline.pipeline import builder_pins, lock, lock_rules, url_sources
from layerline.pipeline.conflict_hints import with_hints
from layerline.pipeline.definition import Definition, from_source
from layerline.pipeline.environment import (
    KEPT,
    PACKAGE,
    PYTHON,
    TOOLS_PYTHON,
    UV,
    UV_CACHE,
    Environment,
    with_modules,
)
from layerline.pipeline.errors import PipelineError
from layerline.pipeline.foreign_lock import (
    LockedSource,
    merge,
    of_unknown_files,
    own_part,
    without_wheel,
)
from layerline.pipeline.layer import INSTALLER, Layer
from layerline.pipeline.lock import Pin, RecordedWheel
from layerline.pipeline.lock_inputs import LockInputs, platform_of, recorded_sources
from layerline.pipeline.object_ids import IdCache
from layerline.pipeline.partition import Partition, partition
from layerline.pipeline.platform import Platform
from layerline.pipeline.projects import ProjectBuild
from layerline.pipeline.requirement import normalize_name, project
from layerline.pipeline.spans import span
from layerline.pipeline.url_sources import UrlSources
from layerline.pipeline.wheels import WHEELHOUSE

_LOCK = "/mnt/lock.txt"
_PROJECTS = "/mnt/projects"
# The program that resolves, and those that it imports.
_MODULES = (
    *("resolve_or_explain_conflict", "lock_sources", "build_backend", "build_wheel"),
    *("fetch_source", "sandbox"),
)


class Conflict(PipelineError):
    """The requirements of a target have no solution."""


async def resolve(
    environment: Environment,
    definition: Definition,
    *,
    current: str,
    theirs: str,
    projects: Mapping[str, ProjectBuild],
    upgrade: Sequence[str],
) -> str:
    """Resolve a target's lock, keeping current versions where the requirements allow.

    If another tool's lock is the target's, `theirs`, only what that lacks is resolved. `projects`
    are the directories to build.

    The lock is one that can be read back and partitioned, and whose images can be built.
    """
    target = environment.target
    resolution = Resolution(
        environment=environment,
        definition=definition,
        projects=projects,
        current=current,
        upgrade=tuple(upgrade),
    )
    sources = await url_sources.of(definition, target, current, upgrade)
    text = await resolution.resolve(sources)
    if not theirs:
        complete = text
    else:
        platform = platform_of(text)
        unknown = of_unknown_files(theirs, definition, target, platform)
        found = await resolution.resolve(sources, pinned=unknown) if unknown else ""
        lacking = without_wheel(theirs, definition, target, platform, known=recorded_sources(found))
        if lacking:
            of_git = url_sources.of_lock(lacking)
            rest = {name: each for name, each in lacking.items() if name not in of_git.sources}
            text = await resolution.resolve(of_git, locked=rest)
        text = own_part(text, definition, target)
        complete = merge(text, theirs, definition, target)
    parts = partition(complete, definition, target)
    lock_rules.check(complete, parts, definition, target)
    wheels = await resolution.wheels(parts)
    at = text.index("\n# ") + 1  # after the line with the format
    return text[:at] + wheels + text[at:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The resolution of a target; `current` is its lock of before."""

    environment: Environment
    definition: Definition
    projects: Mapping[str, ProjectBuild]
    current: str
    upgrade: tuple[str, ...]

    async def wheels(self, parts: Partition) -> str:
        """The record of wheels that differ from build to build; those of before stay."""
        before, known = lock.parse(self.current), builder_pins.parse(self.current).packages
        versions, wheels = lock.recorded_versions(self.current), lock.recorded_wheels(self.current)
        # The one of a build, which finds the wheels again: with the installer of the new lock.
        environment = replace(self.environment, installer=parts.installer, ids=IdCache())
        foreign = bool(self.definition.target(self.environment.target).lock)
        lines = set()
        for layer in parts.layers.values():
            for pin in layer.built:
                kept, wheel = before.get(pin.name), wheels.get(pin.name)
                if kept is not None:
                    same = kept.lines == pin.lines
                else:  # in another tool's lock, which says what it is built from
                    same = versions.get(pin.name) == pin.version and _has_source(wheel, pin)
                keeps = {"all", pin.name}.isdisjoint(map(normalize_name, self.upgrade))
                if not (same and keeps and known.get(pin.name) == layer.builders[pin.name]):
                    found = await _differing_wheel(environment, pin, layer)
                    source = pin.source if foreign else ""
                    wheel = RecordedWheel(digest=found, source=source) if found else None
                lines.update([wheel.line(pin.name)] if wheel is not None else [])
        return "".join(sorted(lines))

    async def resolve(
        self,
        sources: UrlSources,
        *,
        locked: Mapping[str, LockedSource] | None = None,
        pinned: Sequence[str] = (),
    ) -> str:
        """A lock with the record of what it was resolved from.

        `locked` are packages of another tool's lock to build, `pinned` requirements of it of which
        it is not known whether they have a wheel.
        """
        environment, target = self.environment, self.environment.target
        request = self._request(sources, locked or {})
        if pinned:
            path = self.definition.target(target).lock
            request["groups"] = {path: list(pinned)}
            request["no_deps"] = True
        reading = environment.with_git() if sources.asks_git else environment
        container = await resolving_container(reading, self.definition, self.current)
        container = sources.mount(with_modules(container, *_MODULES))
        for path, each in self.projects.items():
            container = container.with_mounted_directory(self._place(path), each.files)
        if self.upgrade or not self.current:
            # The newest versions change over time: never a cache hit.
            container = container.with_env_variable("ASKED_AT", datetime.now(UTC).isoformat())
        done = container.with_exec(
            [TOOLS_PYTHON, "-m", f"{PACKAGE}.{_MODULES[0]}"],
            stdin=json.dumps(request, sort_keys=True),
        )
        try:
            found = json.loads(await environment.supplies.again(done.stdout))
        except dagger.ExecError as exc:
            message = with_hints(exc.stderr.strip(), self.definition, target)
            raise Conflict(message) from exc
        made = sources.to_lock(await done.file(_LOCK).contents())
        return self._header(found, sources, locked or {}) + made

    def _header(
        self, found: Mapping[str, Any], sources: UrlSources, locked: Mapping[str, LockedSource]
    ) -> str:
        """The record of what was resolved, and the pins of what builds packages and projects."""
        made: Mapping[str, Any] = found["sources"]
        versions = {name: each["version"] for name, each in made.items()}
        inputs = LockInputs.of(
            self.definition,
            self.environment.target,
            Platform(python=found["python"], machine=found["machine"]),
            {
                name: tuple(sorted({project(text) for text in each["requires"]} & names_in(each)))
                for name, each in made.items()
            },
            {path: each.requires for path, each in self.projects.items()},
            {
                **{name: versions[name] for name in (*sources.sources, *locked) if name in made},
                **found["wheels"],
            },
        )
        packages = {name: each["pins"] for name, each in made.items()}
        return inputs.header() + builder_pins.render(packages, found["projects"])

    def _request(self, sources: UrlSources, locked: Mapping[str, LockedSource]) -> dict[str, Any]:
        """The input of the resolving program."""
        target = self.environment.target
        groups = self.definition.groups_of(target)
        known = builder_pins.parse(self.current)
        theirs = self.definition.target(target).lock
        return {
            "target": target,
            "groups": {
                **{
                    name: [sources.to_resolve(each) for each in group.requirements_for(target)]
                    for name, group in groups.items()
                    if not theirs
                },
                "installer": [INSTALLER],
            },
            "without": sorted({each for group in groups.values() for each in group.without}),
            "upgrade": list(self.upgrade),
            "sources": from_source(groups.values()),
            "urls": sources.request(),
            "locked": {name: each.request() for name, each in locked.items()},
            "projects": {
                path: {
                    "place": self._place(path),
                    "editable": each.editable,
                    "known": lock.requirements(known.projects.get(path, ())),
                }
                for path, each in self.projects.items()
            },
            "known": {name: lock.requirements(pins) for name, pins in known.packages.items()},
            "no_deps": False,
            "only_binary": self.definition.target(target).only_binary,
            "uv": [
                *(UV, "pip", "compile", f"--python={PYTHON}", f"--cache-dir={UV_CACHE}"),
                "--only-binary=:all:",
            ],
            "lock": _LOCK,
        }

    def _place(self, path: str) -> str:
        """Where the files of a project are mounted."""
        return f"{_PROJECTS}/{list(self.projects).index(path)}"


def names_in(source: Mapping[str, str]) -> set[str]:
    """The packages that build a source."""
    return set(lock.parse(source["pins"]))


def _has_source(wheel: RecordedWheel | None, pin: Pin) -> bool:
    """Whether a wheel is built from what a pin names; without one, an index does not change it."""
    return not pin.url.startswith("git+") if wheel is None else wheel.source == pin.source


async def _differing_wheel(environment: Environment, pin: Pin, layer: Layer) -> str:
    """Build a package; the hash of a wheel that differs from build to build, which is kept."""
    with span(f"build {pin.name}=={pin.version}"):
        made = await environment.built(pin, layer)
        try:
            said = json.loads(await environment.supplies.again(made.stdout))
        except dagger.ExecError as exc:
            message = (
                f"{pin.name}=={pin.version} has no wheel and cannot be built:\n{exc.stderr.strip()}"
            )
            raise lock.LockError(message) from exc
        if not said["differ"]:
            return ""
        await environment.keep_wheel(made, said["sha256"])
        return str(said["sha256"])


async def resolving_container(
    environment: Environment, definition: Definition, current: str
) -> dagger.Container:
    """The container that resolves, with this machine's wheels."""
    supplies = environment.supplies
    wheels = supplies.wheels
    mounts = replace(
        await supplies.of(f"{environment.target}-lock"),
        arguments=wheels.arguments(*([WHEELHOUSE] if wheels.wheelhouse else [])),
        pages=definition.target(environment.target).pages(),
    )
    container = (
        (await environment.builder(environment.base.table.build_packages))
        # Not the installer's volume: uv's cache is pruned, of all that is not uv's as well.
        .with_mounted_cache(UV_CACHE, environment.volume("lock"))
        .with_mounted_cache(KEPT, environment.volume("sources"))
        .with_(mounts.add)
        .with_new_file(_LOCK, current)
    )
    if wheels.wheelhouse is not None:
        container = container.with_mounted_directory(WHEELHOUSE, wheels.wheelhouse)
    return container
