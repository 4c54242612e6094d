"""Loading a module: its source into the store, its identity, and what it defines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.engine.module.environment import environment, environment_key
from layerline.engine.module.host_files import read_directory
from layerline.engine.module.installation import SDK_VERSION
from layerline.engine.module.process import Program
from layerline.engine.module.project import Project, read_project
from layerline.engine.module.types import Types
from layerline.engine.solve.ops import Stored
from layerline.engine.solve.serialization import decode, encode
from layerline.engine.store.digest import digest_of

if TYPE_CHECKING:
    from layerline.engine.api.objects import Directory
    from layerline.engine.module.definitions import Module
    from layerline.engine.module.installation import RunContainer
    from layerline.engine.module.source import ModuleConfig
    from layerline.engine.store.store import Store
    from layerline.log import Journal
    from layerline.settings import Settings

_TABLE = "module"
_EPOCH = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModule:
    """A module whose source is in the store. `digest` is the identity of its implementation.

    `source` is the module's root directory as its own code may read it.
    """

    config: ModuleConfig
    project: Project
    tree: Stored
    source: Directory
    digest: str

    @property
    def name(self) -> str:
        """The module's name as its dagger.json has it."""
        return self.config.name

    def definition(self, store: Store) -> Module | None:
        """The cached definition; None if the module was never asked."""
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


def load_module(config: ModuleConfig, store: Store) -> LoadedModule:
    """Read the module's source as it is now."""
    found = read_directory(
        store,
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
    ]
    return LoadedModule(
        config=config,
        project=project,
        tree=tree,
        source=type(found)(tree=tree, path=path),
        digest=digest_of(identity),
    )
