"""Loading a module: its source into the store, its identity, and what it defines."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from layerline.engine.module.definitions import Module, ObjectTypeDef, TypeDef
from layerline.engine.module.dependencies import check_circle, find_dependency
from layerline.engine.module.environment import environment, environment_key
from layerline.engine.module.host_files import read_directory
from layerline.engine.module.installation import SDK_VERSION
from layerline.engine.module.naming import pascal
from layerline.engine.module.process import Program
from layerline.engine.module.project import Project, read_project
from layerline.engine.module.types import Types
from layerline.engine.solve.ops import Stored
from layerline.engine.solve.serialization import decode, encode
from layerline.engine.store.digest import digest_of

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.api.objects import Directory
    from layerline.engine.module.installation import RunContainer
    from layerline.engine.module.source import Dependency, FetchModule, ModuleConfig
    from layerline.engine.store.store import Store
    from layerline.log import Journal
    from layerline.settings import Settings

_TABLE = "module"
_EPOCH = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedDependency:
    """A module under the name by which the one that depends on it calls it."""

    name: str
    module: LoadedModule


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModule:
    """A module whose source is in the store. `digest` is the identity of its implementation.

    `source` is the module's root directory as its own code may read it. What it depends on takes
    part in the digest. Its toolchains are for its callers.
    """

    config: ModuleConfig
    project: Project
    tree: Stored
    source: Directory
    digest: str
    dependencies: tuple[LoadedDependency, ...] = ()
    toolchains: tuple[LoadedDependency, ...] = ()

    @property
    def name(self) -> str:
        """The module's name as its dagger.json has it."""
        return self.config.name

    @property
    def namespace(self) -> str:
        """What its cache volumes and secrets are named by: a module from elsewhere by its place.

        As Dagger does, but for the subdirectory of a local module, whose volumes would be lost:
        https://github.com/dagger/dagger/blob/v0.21.8/core/schema/cache.go (namespaceFromModule).
        """
        place = ""
        if self.config.origin is not None:
            origin = self.config.origin
            place = f" {origin.repository}/{origin.subpath}".rstrip("/")
        elif self.config.copied:
            place = f" {self.digest}"
        return f"mod({self.name}{place})"

    def definition(self, store: Store) -> Module | None:
        """The cached definition; None if the module was never asked."""
        if not self.config.has_code:
            return _without_code(self.name)
        row = store.index.get(_TABLE, self.digest)
        if row is None:
            return None
        found: Module = decode(row)
        return found

    def remember(self, store: Store, definition: Module) -> None:
        """Keep what the module defines."""
        store.index.put(_TABLE, self.digest, encode(definition))

    def types(self, definition: Module) -> Types:
        """The types that its callers may meet."""
        return Types(name=self.name, definition=definition)

    def program(
        self, store: Store, settings: Settings, journal: Journal, *, run: RunContainer
    ) -> Program:
        """The program that runs its functions; creates the environment on first use.

        `run` runs a container to its end.
        """
        subpath = self.config.code.relative_to(self.config.context).as_posix()
        made = environment(
            self.project,
            store=store,
            settings=settings,
            journal=journal,
            source=self.tree,
            subpath=subpath,
            run=run,
        )
        (snapshot,) = self.tree.snapshots
        return Program(
            environment=made,
            project=self.project,
            source=store.snapshots.path(snapshot),
            name=f"xxh3:{self.digest[:16]}",
            subpath=subpath,
        )


def load_module(config: ModuleConfig, store: Store, fetch: FetchModule) -> LoadedModule:
    """Read the module's source as it is now, and that of all that it depends on.

    `fetch` finds the modules of git references.
    """
    return _Loading(store=store, fetch=fetch).load(config, ())


@dataclass(slots=True, kw_only=True, eq=False)
class _Loading:
    """The loading of a module with its dependencies, each of which is read once."""

    store: Store
    fetch: FetchModule
    loaded: dict[tuple[Path, Path | None], LoadedModule] = field(default_factory=dict)

    def load(self, config: ModuleConfig, above: tuple[ModuleConfig, ...]) -> LoadedModule:
        """Load a module; `above` are those that led to it."""
        place = config.root, config.served
        if place not in self.loaded:
            check_circle(config, above)
            if config.blueprint is not None and not config.has_code:
                found = find_dependency(config, config.blueprint, self.fetch)
                loaded = self.load(_working_for(config, found), (*above, config))
                self.loaded[place] = replace(
                    loaded, toolchains=self._load_toolchains(config, (*above, config))
                )
                return self.loaded[place]
            dependencies = tuple(
                self._load_dependency(config, dependency, (*above, config))
                for dependency in config.dependencies
            )
            self.loaded[place] = replace(
                self._read(config, dependencies),
                toolchains=self._load_toolchains(config, (*above, config)),
            )
        return self.loaded[place]

    def _load_toolchains(
        self, config: ModuleConfig, above: tuple[ModuleConfig, ...]
    ) -> tuple[LoadedDependency, ...]:
        """The toolchains, each of which works for the module; those of toolchains are not used."""
        if config.served is not None:
            return ()
        found = [(each, find_dependency(config, each, self.fetch)) for each in config.toolchains]
        return tuple(
            LoadedDependency(
                name=each.name or module.name,
                module=self.load(_working_for(config, module), above),
            )
            for each, module in found
        )

    def _load_dependency(
        self, config: ModuleConfig, dependency: Dependency, above: tuple[ModuleConfig, ...]
    ) -> LoadedDependency:
        found = find_dependency(config, dependency, self.fetch)
        return LoadedDependency(name=dependency.name or found.name, module=self.load(found, above))

    def _read(
        self, config: ModuleConfig, dependencies: tuple[LoadedDependency, ...]
    ) -> LoadedModule:
        found = read_directory(
            self.store,
            config.context,
            include=config.include_patterns(),
            exclude=(".git",),
            gitignore=True,
        )
        tree = found.tree
        assert isinstance(tree, Stored)
        project = read_project(config.code, config.name)
        path = "/" if config.root == config.context else f"/{config.root_in_context}"
        identity = [
            *(_EPOCH, SDK_VERSION, config.name, path, config.source, config.caching, tree.digest),
            environment_key(project, tree.digest),
            *([each.name, each.module.digest] for each in dependencies),
            *([config.edits] if config.edits else []),
        ]
        return LoadedModule(
            config=config,
            project=project,
            tree=tree,
            source=type(found)(tree=tree, path=path),
            digest=digest_of(identity),
            dependencies=dependencies,
        )


def _working_for(config: ModuleConfig, other: ModuleConfig) -> ModuleConfig:
    """A module whose contextual paths are those of the module that uses it."""
    return replace(other, served=config.root, served_context=config.context)


def _without_code(name: str) -> Module:
    """What a dagger.json without an SDK defines: an object without functions."""
    main = ObjectTypeDef(name=pascal(name))
    return Module(objects=(TypeDef(kind="OBJECT_KIND", name=main.name, as_object=main),))
