"""Modules loaded while a shell runs, in its own session."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from layerline.cli.chain.defaults import read_defaults
from layerline.cli.chain.modules import CallTarget
from layerline.cli.chain.parser import constructor_of
from layerline.cli.chain.wheel_sources import sources_for
from layerline.engine.module.calls import Caller
from layerline.engine.module.git_addresses import parse_reference
from layerline.engine.module.git_modules import GitModules
from layerline.engine.module.loading import load_module
from layerline.engine.module.source import CONFIG, DEFINITION, find_module
from layerline.engine.module.types import Types
from layerline.errors import LayerlineError, ModuleError

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.cli.console import Console
    from layerline.engine.api.session import Session
    from layerline.engine.module.loading import LoadedModule


CORE = CallTarget(types=Types())


@dataclass(slots=True, kw_only=True, eq=False)
class Modules:
    """Loads each module once, and keeps it in `known`."""

    console: Console
    session: Session
    known: dict[str, CallTarget] = field(default_factory=dict)

    async def load(self, reference: str | None, workdir: Path) -> CallTarget:
        """The module of a reference, or the one around a directory."""
        loaded = await self.session.solver.in_thread(self._read, reference, workdir)
        return await self.target(loaded)

    async def target(self, loaded: LoadedModule) -> CallTarget:
        """A module with its types and the user's defaults."""
        if loaded.digest not in self.known:
            types = loaded.types(await Caller.of(self.session, loaded).define())
            defaults = read_defaults(
                loaded.config,
                types.main_object().name,
                workdir=self.console.workdir,
                environ=self.console.settings.environ,
            )
            sources = sources_for(constructor_of(types), self.console.settings)
            defaults = replace(defaults, machine=sources.texts)
            self.known[loaded.digest] = CallTarget(
                types=types, defaults=defaults, sources=sources, loaded=loaded
            )
        return self.known[loaded.digest]

    def _read(self, reference: str | None, workdir: Path) -> LoadedModule:
        store = self.session.store
        fetch = GitModules(store=store, settings=self.console.settings).fetch
        return load_module(find_module(reference, workdir=workdir, fetch=fetch), store, fetch)


def is_module_around(directory: Path) -> bool:
    """Whether a directory, or one above it, has a module."""
    around = (directory, *directory.parents)
    return any((place / name).is_file() for place in around for name in (CONFIG, DEFINITION))


async def find_by_name(modules: Modules, name: str, candidate: Path | None) -> CallTarget | None:
    """The module that a command names: a path, `candidate` in the context, or a git reference.

    None where the directory lies in no module.
    """
    workdir = modules.console.workdir
    try:
        for path in (candidate, workdir / name):
            if path is not None and path.exists():
                where = path if path.is_dir() else path.parent
                if not is_module_around(where):
                    return None
                return await modules.load(str(where), workdir)
        if parse_reference(name) is None:
            message = f'local path "{name}" does not exist'
            raise ModuleError(message)
        return await modules.load(name, workdir)
    except LayerlineError as exc:
        message = f'find module "{name}": {exc}'
        raise ModuleError(message) from exc
