"""Locks that other tools wrote: `uv.lock`, `poetry.lock`, `pylock.toml` and hashed requirements.

They are read for one platform and written down as this pipeline's own lock has it: versions, hashes
and who requires whom. Nothing is resolved again. Packages that no requirement of the groups leads
to are left out. URLs of files of an index are not used, the hashes decide; what comes from a
repository, an archive or a directory is built.
"""

import json
import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from packaging.requirements import Requirement

from layerline.pipeline import builder_pins, foreign_formats, lock
from layerline.pipeline.definition import Definition, Group, Image, from_source
from layerline.pipeline.foreign_formats import DIRECTORY, Dependency, Package
from layerline.pipeline.layer import INSTALLER
from layerline.pipeline.lock import LockError
from layerline.pipeline.lock_inputs import platform_of, recorded_projects, recorded_sources
from layerline.pipeline.origins import parse_origin
from layerline.pipeline.platform import Platform
from layerline.pipeline.requirement import normalize_name, project


def read(
    path: str,
    text: str,
    requirements: Iterable[str],
    platform: Platform,
    *,
    without: Collection[str] = (),
) -> str:
    """A lock of another tool as pins, for the requirements of all groups."""
    return "".join(_select(path, text, requirements, platform, without).lines())


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedSource:
    """A source that another tool's lock has; `url` is empty for one of an index."""

    version: str
    hashes: tuple[str, ...]
    url: str = ""

    def request(self) -> dict[str, Any]:
        """The input of the program that reads it."""
        return {"version": self.version, "hashes": list(self.hashes), "url": self.url}


def of_unknown_files(
    theirs: str, definition: Definition, target: str, platform: Platform
) -> list[str]:
    """The pins of a lock that has hashes alone: an index knows which of them have a wheel."""
    chosen = _select_for(theirs, definition, target, platform).chosen.values()
    return [f"{each.name}=={each.version}" for each in chosen if not each.files and not each.url]


def without_wheel(
    theirs: str,
    definition: Definition,
    target: str,
    platform: Platform,
    *,
    known: Collection[str] = (),
) -> dict[str, LockedSource]:
    """The packages of another tool's lock that no wheel of it is for; `known` are such ones."""
    chosen = _select_for(theirs, definition, target, platform).chosen.values()
    return {
        each.name: LockedSource(version=each.version, hashes=each.hashes, url=each.url)
        for each in chosen
        if each.name in known or _is_source(each, platform)
    }


def _is_source(package: Package, platform: Platform) -> bool:
    if package.url:
        origin = parse_origin(package.name, package.url)
        return not package.url.startswith(DIRECTORY) and not origin.is_wheel
    files = package.files
    return bool(files) and not any(map(platform.accepts, filter(_is_wheel, files)))


def with_directories(
    definition: Definition, target: str, theirs: str, platform: Platform
) -> Definition:
    """The definition whose images have the projects that another tool's lock has directories of."""
    _check_unnamed(definition, target, theirs)
    images: dict[str, Image] = {}
    for name, image in definition.images_of(target).items():
        groups = [definition.groups[each] for each in image.groups]
        chosen = _select_for(theirs, definition, target, platform, groups).chosen
        found = {
            each.url.removeprefix(DIRECTORY)
            for each in chosen.values()
            if each.url.startswith(DIRECTORY)
        }
        found.difference_update(map(posixpath.normpath, image.projects))
        if found:
            projects = (*image.projects, *sorted(found))
            images[name] = image.model_copy(update={"projects": projects})
    return definition.model_copy(update={"images": {**definition.images, **images}})


def _check_unnamed(definition: Definition, target: str, theirs: str) -> None:
    """Raise a `LockError` for a directory without a name that no image has as a project.

    Which images need it is not known, as no requirement of a group can lead to it.
    """
    path = definition.target(target).lock
    if not path.endswith(".txt"):
        return
    images = definition.images_of(target).values()
    known = {posixpath.normpath(each) for image in images for each in image.projects}
    for where, place in foreign_formats.unnamed_directories(path, theirs):
        directory = posixpath.normpath(place)
        if directory in known:
            continue
        way = f"add projects = [{json.dumps(directory)}] to the images that need it"
        if directory.startswith(("/", "..")):
            way = "lock it with its path from the repository's root"
        message = f"{where} names no package: {way}"
        raise LockError(message)


def _is_wheel(file: str) -> bool:
    return file.endswith(".whl")


def _select_for(
    theirs: str,
    definition: Definition,
    target: str,
    platform: Platform,
    groups: Collection[Group] | None = None,
) -> "_Selection":
    """What groups, or all of the target, select of its lock."""
    if groups is None:
        groups = definition.groups_of(target).values()
    requirements = [each for group in groups for each in group.requirements_for(target)]
    without = {normalize_name(each) for group in groups for each in group.without}
    return _select(definition.target(target).lock, theirs, requirements, platform, without)


def _select(
    path: str,
    text: str,
    requirements: Iterable[str],
    platform: Platform,
    without: Collection[str],
) -> "_Selection":
    packages, knows_dependencies = foreign_formats.parse(path, text)
    packages = {name: them for name, them in packages.items() if name not in without}
    wanted = [Requirement(each) for each in requirements if platform.wants(each)]
    selection = _Selection(path=path, packages=packages, platform=platform)
    for each in wanted:
        extras = tuple(map(normalize_name, sorted(each.extras)))
        selection.add(Dependency(name=normalize_name(each.name), extras=extras), parent="")
    if not knows_dependencies:
        # Any group may need any of the others, so they are shared.
        for name in packages:
            for root in wanted:
                selection.add(Dependency(name=name), parent=normalize_name(root.name))
    return selection


def merge(own: str, theirs: str, definition: Definition, target: str) -> str:
    """A target's lock: of its own one the installer and what builds packages, and the other one."""
    taken = "".join(_select_for(theirs, definition, target, platform_of(own)).lines())
    return own_part(own, definition, target) + taken


def own_part(own: str, definition: Definition, target: str) -> str:
    """The part of an own lock that another tool's lacks: the installer and what builds packages."""
    pins = lock.parse(own)
    platform = platform_of(own)
    groups = definition.groups_of(target).values()
    known = builder_pins.parse(own)
    built_by = {**recorded_sources(own), **from_source(groups)}
    builders = {each for name, by in built_by.items() if name not in known.packages for each in by}
    for path, by in recorded_projects(own).items():
        if path not in known.projects:
            builders |= {project(each) for each in by if platform.wants(each)}
    kept = lock.closure(pins, {INSTALLER, *builders})
    header = "".join(f"{line}\n" for line in own.splitlines() if line.startswith("# "))
    ours = "".join(
        lock.requirements([pins[name]])
        + "".join(f"    # via {each}\n" for each in sorted(pins[name].required_by & kept))
        for name in sorted(kept)
    )
    return header + ours


@dataclass(frozen=True, slots=True, kw_only=True)
class _Selection:
    """Those packages of a lock that are reached on a platform, with the packages that led there."""

    path: str
    packages: Mapping[str, Sequence[Package]]
    platform: Platform
    parents: dict[str, set[str]] = field(default_factory=dict)
    chosen: dict[str, Package] = field(default_factory=dict)
    seen: set[tuple[str, str]] = field(default_factory=set)

    def add(self, dependency: Dependency, *, parent: str) -> None:
        """Select a package and what it depends on, with its extras."""
        waiting = [(dependency, parent)]
        while waiting:
            each, parent = waiting.pop()
            if not self.platform.holds(each.marker):
                continue
            package = self._find(each)
            if package is None:
                continue
            self.chosen.setdefault(each.name, package)
            self.parents.setdefault(each.name, set()).update({parent} - {"", each.name})
            for extra in ("", *each.extras):
                if (each.name, extra) not in self.seen:
                    self.seen.add((each.name, extra))
                    waiting += [(one, each.name) for one in package.dependencies.get(extra, ())]

    def _find(self, dependency: Dependency) -> Package | None:
        """The locked version for this platform; None if the lock has none, which others report."""
        known = [
            each
            for each in self.packages.get(dependency.name, ())
            if dependency.version in ("", each.version)
        ]
        here = [
            each
            for each in known
            if not each.markers or any(map(self.platform.holds, each.markers))
        ]
        package = next(iter(here), None)
        if package is None:
            return None
        if package.reason:
            message = (
                f"{self.path} has {package.name} {package.reason}: {package.way}, or leave it out "
                "with 'without'"
            )
            raise LockError(message)
        if not package.hashes and not package.url.startswith((DIRECTORY, "git+")):
            message = f"{self.path} has no hashes for {package.name}: {_how_to_hash(self.path)}"
            raise LockError(message)
        return package

    def lines(self) -> Iterator[str]:
        """Yield the pins, sorted by name, as `uv pip compile` writes them."""
        for name, package in sorted(self.chosen.items()):
            if package.url and (package.version or package.url.startswith(DIRECTORY)):
                yield f"# version: {name} {package.version or '0'}\n"
            yield f"{name} @ {package.url}" if package.url else f"{name}=={package.version}"
            yield from (f" \\\n    --hash={each}" for each in sorted(set(package.hashes)))
            if parents := sorted(self.parents[name]):
                yield f"\n    # via {', '.join(parents)}"
            yield "\n"


def _how_to_hash(path: str) -> str:
    if path.endswith(".txt"):
        return "write it with --generate-hashes (uv, pip-tools)"
    return "update it with the tool that wrote it"
