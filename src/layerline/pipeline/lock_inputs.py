"""What a lock was resolved from: recorded in its first lines, and compared before a build.

A lock that does not fit `layerline.toml` is refused, as `uv sync --locked` refuses one: the
requirements are compared as they are written, not only by name. A lock without the record, by an
earlier version, is out of date only where a pinned version does not fit its requirement.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from packaging.requirements import Requirement

from layerline.pipeline import lock
from layerline.pipeline.definition import Definition
from layerline.pipeline.diagnostics import FILE
from layerline.pipeline.lock import LockError, Pin
from layerline.pipeline.platform import Platform
from layerline.pipeline.requirement import normalize_name

_FORMAT = "# layerline lock, format 1"
_SOURCE = re.compile(r"^# from source: (?P<name>\S+)(?: with (?P<builders>.+))?$", re.MULTILINE)
_PROJECT = re.compile(r"^# project: (?P<path>.+?)(?: with (?P<builder>.+))?$", re.MULTILINE)
_LINE = re.compile(r"^# (?P<key>python|requirement|without|index): (?P<value>.+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class LockInputs:
    """The requirements of all groups, the packages left out, their own indexes, the platform.

    `from_source` are packages that turned out to have no wheel, each with what builds it, and
    `projects` the directories that are built as wheels, each with what its build requires.
    `versions` are those of packages with a URL, whose lines have none.
    """

    requirements: frozenset[str]
    without: frozenset[str]
    indexes: frozenset[str]
    platform: Platform
    from_source: Mapping[str, Sequence[str]] = field(default_factory=dict)
    projects: Mapping[str, Sequence[str]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        definition: Definition,
        target: str,
        platform: Platform,
        from_source: Mapping[str, Sequence[str]] | None = None,
        projects: Mapping[str, Sequence[str]] | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> "LockInputs":
        """The inputs that the definition has for a target now."""
        groups = definition.groups_of(target).values()
        more: dict[str, Any] = {
            "from_source": dict(from_source or {}),
            "projects": dict(projects or {}),
            "versions": dict(versions or {}),
        }
        if definition.target(target).lock:
            nothing = frozenset[str]()
            return cls(
                requirements=nothing, without=nothing, indexes=nothing, platform=platform, **more
            )
        return cls(
            requirements=frozenset(
                _spelled(each) for group in groups for each in group.requirements_for(target)
            ),
            without=frozenset(normalize_name(each) for group in groups for each in group.without),
            indexes=frozenset(definition.target(target).pages()),
            platform=platform,
            **more,
        )

    @classmethod
    def read(cls, text: str) -> "LockInputs | None":
        """The inputs that a lock records; None if it records none."""
        lines = [line for line in text.splitlines() if line.startswith("#")]
        if _FORMAT not in lines:
            return None
        found: dict[str, set[str]] = defaultdict(set)
        for line in lines:
            if match := _LINE.match(line):
                found[match["key"]].add(match["value"])
        python, _, machine = " ".join(found["python"]).partition(" on ")
        return cls(
            requirements=frozenset(found["requirement"]),
            without=frozenset(found["without"]),
            indexes=frozenset(found["index"]),
            platform=Platform(python=python, machine=machine) if machine else Platform(),
            from_source=recorded_sources(text),
            projects=recorded_projects(text),
            versions={pin.name: pin.version for pin in lock.parse(text).values() if pin.url},
        )

    def header(self) -> str:
        """The first lines of the lock, which `read` reads."""
        return "\n".join(
            [
                _FORMAT,
                f"# python: {self.platform.python} on {self.platform.machine}",
                *(f"# requirement: {each}" for each in sorted(self.requirements)),
                *(f"# without: {each}" for each in sorted(self.without)),
                *(f"# index: {each}" for each in sorted(self.indexes)),
                *(
                    f"# from source: {name} with {', '.join(by)}"
                    if by
                    else f"# from source: {name}"
                    for name, by in sorted(self.from_source.items())
                ),
                *(f"# version: {name} {it}" for name, it in sorted(self.versions.items())),
                *(
                    f"# project: {path} with {each}" if each else f"# project: {path}"
                    for path, by in sorted(self.projects.items())
                    for each in by or [""]
                ),
                "",
            ]
        )


def recorded_sources(text: str) -> dict[str, tuple[str, ...]]:
    """The packages without a wheel that a lock records, each with what builds it."""
    return {
        each["name"]: tuple(map(normalize_name, (each["builders"] or "").split(", ")))
        if each["builders"]
        else ()
        for each in _SOURCE.finditer(text)
    }


def recorded_projects(text: str) -> dict[str, tuple[str, ...]]:
    """The directories that a lock records as built, each with the requirements of its build."""
    found: dict[str, tuple[str, ...]] = {}
    for each in _PROJECT.finditer(text):
        known = found.get(each["path"], ())
        found[each["path"]] = (*known, each["builder"]) if each["builder"] else known
    return found


def platform_of(text: str) -> Platform:
    """The platform that a lock is for."""
    recorded = LockInputs.read(text)
    return recorded.platform if recorded is not None else Platform()


def check(text: str, definition: Definition, target: str) -> None:
    """Raise a `LockError` that lists where the lock of a target does not fit the definition."""
    if not text.strip():
        message = f"{lock.path(target)} does not exist: write it with '{lock.command(target)}'"
        raise LockError(message)
    pins = lock.parse(text)
    foreign = definition.target(target).lock
    recorded = None if foreign else LockInputs.read(text)
    now = LockInputs.of(definition, target, platform_of(text))
    wrong = [*_misfits(pins, definition, target, now.platform, recorded)]
    if recorded is not None:
        gone = recorded.requirements - now.requirements
        wrong += [f"no group requires {each} any more" for each in sorted(gone)]
        wrong += [f"{each} is left out now" for each in sorted(now.without - recorded.without)]
        back = recorded.without - now.without
        wrong += [f"{each} is not left out any more" for each in sorted(back)]
        moved = recorded.indexes ^ now.indexes
        wrong += [f"the index {each} was added or removed" for each in sorted(moved)]
    wrong += _unbuilt(definition, target, recorded_projects(text))
    python, minor = definition.base.python, ".".join(now.platform.python.split(".")[:2])
    if python and python != minor:
        wrong.append(f"the lock is for Python {minor}; base.python is {python}")
    if wrong:
        heading = f"{foreign} does not fit {FILE}: update it with the tool that wrote it"
        if not foreign or wrong == [*_unbuilt(definition, target, recorded_projects(text))]:
            heading = (
                f"{lock.path(target)} is out of date with {FILE}: "
                f"regenerate it with '{lock.command(target)}'"
            )
        raise LockError("\n  ".join([heading, *wrong]))


def _unbuilt(
    definition: Definition, target: str, recorded: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """Yield the projects whose build requirements the lock does not have."""
    for name, image in sorted(definition.images_of(target).items()):
        for path in image.projects:
            if path not in recorded:
                yield f"image {name} has the project {path}, whose build it was not resolved for"


def _misfits(
    pins: Mapping[str, Pin],
    definition: Definition,
    target: str,
    platform: Platform,
    recorded: LockInputs | None,
) -> Iterator[str]:
    """Yield the requirements that the lock does not fulfil or was not resolved for."""
    for name, group in definition.groups_of(target).items():
        for text in group.requirements_for(target):
            if not platform.wants(text):
                continue
            required = Requirement(text)
            pin = pins.get(normalize_name(required.name))
            if pin is None:
                yield f"group {name} requires {text}; the lock has no entry for {required.name}"
            elif not pin.is_directory and not required.specifier.contains(
                pin.version, prereleases=True
            ):
                yield f"group {name} requires {text}; the lock has {pin.name}=={pin.version}"
            elif recorded is not None and _spelled(text) not in recorded.requirements:
                yield f"group {name} requires {text}, which the lock was not resolved for"


def _spelled(requirement: str) -> str:
    """A requirement in the one spelling that records have."""
    parsed = Requirement(requirement)
    parsed.name = normalize_name(parsed.name)
    # Before its version 22, packaging writes `name@ url`.
    return re.sub(r"^(\S+?)@ ", r"\1 @ ", str(parsed))
