"""What requirements with a URL are resolved from: the commits of repositories, and archives.

A commit that the lock has stays until the requirement changes or its package is upgraded.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import dagger
from packaging.requirements import Requirement

from layerline.pipeline import lock
from layerline.pipeline.definition import Definition
from layerline.pipeline.foreign_lock import LockedSource
from layerline.pipeline.lock import LockError, Pin
from layerline.pipeline.lock_inputs import LockInputs
from layerline.pipeline.origins import Origin, origin_of, parse_origin
from layerline.pipeline.requirement import normalize_name

_PLACE = "/mnt/git"
_PYPROJECT = "pyproject.toml"
# All of them are setuptools-scm inside, which takes the version of the lock when it builds.
_ASKS_GIT = re.compile(r"\b(?:setuptools|flit)[-_.]scm\b|\bhatch[-_.]vcs\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlSource:
    """A requirement's origin; `files` are those of the commit `commit`, None for an archive.

    `version` is empty where it is not known yet. `asks_git` says that git is to be asked for it,
    and that `files` are a repository.
    """

    origin: Origin
    commit: str = ""
    version: str = ""
    files: dagger.Directory | None = None
    asks_git: bool = False

    @property
    def place(self) -> str:
        """Where the files are mounted."""
        return f"{_PLACE}/{self.origin.name}"

    @property
    def resolved(self) -> str:
        """The URL that it is resolved from."""
        return f"file://{self.place}" if self.commit else self.origin.url

    @property
    def locked(self) -> str:
        """The URL that the lock has."""
        return self.origin.at(self.commit) if self.commit else self.origin.url


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlSources:
    """The sources of a target's requirements with a URL, by name."""

    sources: Mapping[str, UrlSource]

    def request(self) -> dict[str, dict[str, str]]:
        """Where each is read: its URL, and the directory of a repository's files."""
        return {
            name: {
                "url": each.origin.url,
                "place": each.place if each.commit else "",
                "version": each.version,
            }
            for name, each in self.sources.items()
        }

    @property
    def asks_git(self) -> bool:
        """Whether git is needed to know the version of one."""
        return any(each.asks_git for each in self.sources.values())

    def mount(self, container: dagger.Container) -> dagger.Container:
        """Prepare a container that reads or resolves them."""
        for each in self.sources.values():
            if each.files is not None:
                container = container.with_mounted_directory(each.place, each.files)
        return container

    def to_resolve(self, requirement: str) -> str:
        """A requirement with the URL that it is resolved from."""
        parsed = Requirement(requirement)
        if parsed.url is not None:
            parsed.url = self.sources[normalize_name(parsed.name)].resolved
            return str(parsed)
        return requirement

    def to_lock(self, text: str) -> str:
        """A lock with the URLs that it is to have."""
        for name, each in self.sources.items():
            line = re.compile(
                rf"^(?P<name>{re.escape(name)}(?:\[[^]]*\])?) @ {re.escape(each.resolved)}"
                r"(?:[ \t]+(?P<via># via .*))?(?=[ \n])",
                re.MULTILINE,
            )
            if match := line.search(text):
                via = f"\n    {match['via']}" if match["via"] else ""
                url = f"{match['name']} @ {each.locked}{via}"
                text = text[: match.start()] + url + text[match.end() :]
        return text


async def of(
    definition: Definition, target: str, current: str, upgrade: Collection[str]
) -> UrlSources:
    """The sources of a target's requirements with a URL; a `LockError` if they must be wheels."""
    if definition.target(target).lock:
        return UrlSources(sources={})
    recorded = LockInputs.read(current)
    known = {} if recorded is None else lock.parse(current)
    kept = set() if recorded is None else recorded.requirements
    found: dict[str, UrlSource] = {}
    for group in definition.groups_of(target).values():
        for text in group.requirements_for(target):
            origin = origin_of(text)
            if origin is None:
                continue
            newer = not {"all", origin.name}.isdisjoint(map(normalize_name, upgrade))
            pinned = _pinned(known, origin) if text in kept and not newer else ""
            version = known[origin.name].version if pinned else ""
            found[origin.name] = await _read(origin, pinned, version)
    to_build = [name for name, each in found.items() if not each.origin.is_wheel]
    if to_build and definition.target(target).only_binary:
        message = (
            f"{', '.join(sorted(to_build))}: the URL is not that of a wheel; "
            f"only_binary = true in [targets.{target}] forbids to build it"
        )
        raise LockError(message)
    return UrlSources(sources=found)


def of_lock(locked: Mapping[str, LockedSource]) -> UrlSources:
    """The repositories that another tool's lock has, with their commits."""
    found = {}
    for name, each in locked.items():
        origin = parse_origin(name, each.url)
        if origin.is_git:
            files = origin.files(origin.ref)
            found[name] = UrlSource(
                origin=origin, commit=origin.ref, version=each.version, files=files
            )
    return UrlSources(sources=found)


def _pinned(known: Mapping[str, Pin], origin: Origin) -> str:
    """The commit that a lock has for an origin."""
    pin = known.get(origin.name)
    return parse_origin(origin.name, pin.url).ref if pin is not None else ""


async def _read(origin: Origin, pinned: str, version: str) -> UrlSource:
    if not origin.is_git:
        return UrlSource(origin=origin)
    commit = pinned or await origin.reference().commit()
    found = UrlSource(origin=origin, commit=commit, files=origin.files(commit))
    if origin.subdirectory or not await _is_versioned_by_git(origin.files(commit)):
        return found
    if version:  # of the same commit
        return replace(found, version=version)
    return replace(found, files=origin.with_history(commit), asks_git=True)


async def _is_versioned_by_git(files: dagger.Directory) -> bool:
    """Whether a project is built with what takes its version from git."""
    if not await files.glob(_PYPROJECT):
        return False
    return _ASKS_GIT.search(await files.file(_PYPROJECT).contents()) is not None
