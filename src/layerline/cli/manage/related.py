"""The dependencies, toolchains and blueprint of a module: added, updated and removed.

As in https://github.com/dagger/dagger/blob/v0.21.8/core/schema/modulesource.go.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerline.engine.module.dependencies import find_dependency
from layerline.engine.module.git_addresses import parse_reference
from layerline.engine.module.source import CONFIG, Dependency, normal_path, read_config
from layerline.errors import LayerlineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.engine.module.git_addresses import GitOrigin
    from layerline.engine.module.source import FetchModule, ModuleConfig

DEPENDENCY, TOOLCHAIN = "dependency", "toolchain"
PLURALS = {DEPENDENCY: "dependencies", TOOLCHAIN: "toolchains"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RelatedModule:
    """A module as another one's dagger.json has it; `more` are keys of the entry kept as they are.

    Paths are relative to `parent`, the root of the other one.
    """

    name: str
    config: ModuleConfig
    parent: Path
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """A path relative to the other module, or a git reference with its version."""
        origin = self.config.origin
        if origin is None:
            return posixpath.relpath(self.config.root, self.parent)
        plain = clone_reference(origin)
        place = f"{plain}/{origin.subpath}" if origin.subpath not in ("", ".") else plain
        return f"{place}@{origin.version}"

    @property
    def symbolic(self) -> str:
        """What an argument may say instead of the name; a repository's root is `URL/.`."""
        origin = self.config.origin
        if origin is None:
            return self.source
        return f"{clone_reference(origin)}/{origin.subpath or '.'}"

    @property
    def identity(self) -> str:
        """The module whatever its version and name are."""
        return str(self.config.root) if self.config.origin is None else self.symbolic

    def entry(self) -> dict[str, Any]:
        """The entry of dagger.json."""
        origin = self.config.origin
        pin = {"pin": origin.commit} if origin is not None else {}
        return {"name": self.name, "source": self.source, **pin, **self.more}

    def dependency(self) -> Dependency:
        """The entry as the engine reads it."""
        origin = self.config.origin
        pin = origin.commit if origin is not None else ""
        return Dependency(name=self.name, source=self.source, pin=pin)


def clone_reference(origin: GitOrigin) -> str:
    """The repository as it was written, which may be without a scheme."""
    written = "://" in origin.reference or "@" in origin.repository
    return origin.repository if written else origin.repository.removeprefix("https://")


def read_related(
    config: ModuleConfig, entries: Sequence[Any], fetch: FetchModule
) -> list[RelatedModule]:
    """The modules that a list of dagger.json names."""
    found: list[RelatedModule] = []
    for entry in entries:
        described = {"source": entry} if isinstance(entry, str) else dict(entry)
        name = str(described.pop("name", "") or "")
        source, pin = str(described.pop("source")), str(described.pop("pin", "") or "")
        module = find_dependency(config, Dependency(name=name, source=source, pin=pin), fetch)
        found.append(
            RelatedModule(
                name=name or module.name, config=module, parent=config.root, more=described
            )
        )
    return found


def find_related(
    config: ModuleConfig, argument: str, name: str, *, workdir: Path, fetch: FetchModule
) -> RelatedModule:
    """The module of an argument: a path of this machine or a git reference."""
    root = Path(normal_path(workdir / argument))
    reference = parse_reference(argument)
    if root.exists():
        if not (root / CONFIG).is_file():
            message = f"{argument} has no {CONFIG}: only a module can be installed"
            raise LayerlineError(message)
        module = read_config(root)
    elif reference is not None:
        module = fetch(reference, "")
    else:
        message = f'local path "{argument}" does not exist'
        raise LayerlineError(message)
    return RelatedModule(name=name or module.name, config=module, parent=config.root)


def add(
    config: ModuleConfig, present: Sequence[RelatedModule], new: Sequence[RelatedModule], kind: str
) -> list[RelatedModule]:
    """All modules by name, new ones in the place of what is the same at another version."""
    for each in new:
        if each.config.origin is None and not each.config.context.is_relative_to(config.context):
            message = (
                f'local module {kind} context directory "{each.config.context}" is not in parent '
                f'context directory "{config.context}"'
            )
            raise LayerlineError(message)
    kept: dict[str, RelatedModule] = {}
    for each in (*new, *present):
        kept.setdefault(each.identity, each)
    names = [each.name for each in kept.values()]
    for name in names:
        if names.count(name) > 1:
            message = f'duplicate {kind} name "{name}"'
            raise LayerlineError(message)
    return sorted(kept.values(), key=lambda each: each.name)


def update(
    present: Sequence[RelatedModule], arguments: Sequence[str], kind: str, fetch: FetchModule
) -> list[RelatedModule]:
    """The modules as they are now, of those that arguments name or of all from git."""
    wanted = [(name, version) for name, _, version in (text.partition("@") for text in arguments)]
    updated: list[RelatedModule] = []
    met: set[tuple[str, str]] = set()
    for each in present:
        chosen = [item for item in wanted if item[0] in (each.name, each.symbolic)]
        origin = each.config.origin
        if origin is None:
            if chosen:
                message = f"updating local {PLURALS[kind]} is not supported"
                raise LayerlineError(message)
            continue
        met.update(chosen)
        versions = [version or origin.version for _, version in chosen]
        if not wanted:
            versions = [origin.version]
        updated += [_at_version(each, version, fetch) for version in versions[-1:]]
    missing = [name for name, version in wanted if (name, version) not in met]
    if missing:
        names = ",".join(missing)
        message = (
            f'{kind} "{names}" was requested to be updated, but it is not found in the '
            f"{PLURALS[kind]} list"
        )
        raise LayerlineError(message)
    return updated


def remove(present: Sequence[RelatedModule], argument: str, kind: str) -> list[RelatedModule]:
    """The modules without the one that an argument names; nothing happens without it."""
    name, _, version = argument.partition("@")
    kept: list[RelatedModule] = []
    for each in present:
        if posixpath.normpath(name) not in (each.name, each.symbolic):
            kept.append(each)
        elif version:
            _check_version(each, version, kind)
    return kept


def _check_version(each: RelatedModule, version: str, kind: str) -> None:
    origin = each.config.origin
    hint = "Try re-running without specifying the version number"
    wanted = f'version "{version}" was requested to be uninstalled but the {kind} "{each.symbolic}"'
    if origin is None or not origin.version:
        message = f"{wanted} was installed without a specific version. {hint}"
        raise LayerlineError(message)
    if version not in (origin.version, origin.version.removeprefix(f"{origin.subpath}/")):
        message = f'{wanted} was installed with "{origin.version}". {hint}'
        raise LayerlineError(message)


def _at_version(each: RelatedModule, version: str, fetch: FetchModule) -> RelatedModule:
    text = f"{each.source.rpartition('@')[0]}@{version}"
    reference = parse_reference(text)
    assert reference is not None
    found = fetch(reference, "")
    return RelatedModule(name=each.name, config=found, parent=each.parent, more=each.more)
