"""The module of a command; its definition is cached in the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from layerline import host
from layerline.cli.chain.defaults import UserDefaults, read_defaults
from layerline.cli.chain.wheel_sources import WheelSources
from layerline.engine import Store
from layerline.engine.module.git_addresses import parse_reference
from layerline.engine.module.git_modules import GitModules
from layerline.engine.module.loading import LoadedModule, load_module
from layerline.engine.module.naming import kebab
from layerline.engine.module.source import (
    CONFIG,
    Dependency,
    find_module,
    find_named_dependency,
)
from layerline.engine.module.types import Types
from layerline.errors import ModuleError, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from layerline.cli.console import Console
    from layerline.engine.api.session import Session
    from layerline.engine.module.calls import Caller
    from layerline.engine.module.definitions import Module

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTarget:
    """A module with its types and the user's defaults; no module at all for the core API.

    `sources` are the machine's sources of wheels where they are among the defaults.
    """

    types: Types
    defaults: UserDefaults = field(default_factory=UserDefaults)
    sources: WheelSources = field(default_factory=WheelSources)
    loaded: LoadedModule | None = None
    toolchains: Mapping[str, CallTarget] = field(default_factory=dict)

    def toolchain(self, command: str) -> CallTarget | None:
        """The toolchain of a name on the command line."""
        return next((t for name, t in self.toolchains.items() if kebab(name) == command), None)


def load(console: Console) -> CallTarget:
    """The module of --mod, or the one around the working directory; none with --no-mod."""
    options = console.options
    if options.no_module:
        if options.module is not None:
            message = "--mod and --no-mod are mutually exclusive: use one of them"
            raise UsageError(message)
        return CallTarget(types=Types())
    loaded, definition = _read(console, module_reference(console))
    if options.eager:
        _prepare(console, loaded)
    return _target(console, loaded, definition)


def load_known(console: Console) -> CallTarget | None:
    """The module as `load` gives it; None where its process would have to be asked first."""
    loaded, definition = _read(console, module_reference(console))
    with Store.open(console.settings.store) as store:
        missing = [each for each in loaded.toolchains if each.module.definition(store) is None]
    return None if definition is None or missing else _target(console, loaded, definition)


def _target(console: Console, loaded: LoadedModule, definition: Module | None) -> CallTarget:
    types = loaded.types(definition or _ask(console, loaded))
    defaults = read_defaults(
        loaded.config,
        types.main_object().name,
        workdir=console.workdir,
        environ=console.settings.environ,
    )
    toolchains = {}
    for each in loaded.toolchains:
        with Store.open(console.settings.store) as store:
            known = each.module.definition(store)
        toolchains[each.name] = _target(console, each.module, known)
    return CallTarget(types=types, loaded=loaded, defaults=defaults, toolchains=toolchains)


def module_reference(console: Console) -> str | None:
    """The module that was named: on the command line, or in the environment as for Dagger."""
    return console.options.module or console.settings.environ.get("DAGGER_MODULE") or None


def load_for_queries(console: Console) -> LoadedModule | None:
    """The module whose functions queries may call, if one is named or around the directory."""
    options, workdir = console.options, console.workdir
    named = module_reference(console)
    around = any((place / CONFIG).is_file() for place in (workdir, *workdir.parents))
    if options.no_module or (named is None and not around):
        return None
    return _read(console, named)[0]


def _read(console: Console, reference: str | None) -> tuple[LoadedModule, Module | None]:
    """The module with its source in the store, and what it is known to define."""
    local = None
    if not _is_fetched(console.workdir, reference):
        local = find_module(reference, workdir=console.workdir)
    host.become_root()  # of the store, whose files belong to many users
    with Store.open(console.settings.store) as store:
        fetch = GitModules(store=store, settings=console.settings).fetch
        config = local or find_module(reference, workdir=console.workdir, fetch=fetch)
        loaded = load_module(config, store, fetch)
        return loaded, loaded.definition(store)


def _is_fetched(workdir: Path, reference: str | None) -> bool:
    """Whether a module is in a git repository: named by its address, or by a dependency's name."""
    if reference is None or (workdir / reference).exists():
        return False
    if parse_reference(reference) is not None:
        return True
    return isinstance(find_named_dependency(workdir, reference), Dependency)


def _prepare(console: Console, loaded: LoadedModule) -> None:
    """Create the module's environment before it is needed."""
    console.enter()
    _with_caller(console, loaded, lambda caller: caller.prepare())


def _with_caller(
    console: Console, loaded: LoadedModule, use: Callable[[Caller], Awaitable[T]]
) -> T:
    """Use what calls the module's functions, in a session of its own; the console has entered."""
    from layerline.cli.chain.engine_session import run_in_session
    from layerline.engine.module.calls import Caller

    async def work(session: Session) -> T:
        return await use(Caller.of(session, loaded))

    return run_in_session(console, work)


def _ask(console: Console, loaded: LoadedModule) -> Module:
    """Ask the module's process for its definition."""
    console.enter()
    from layerline.engine.module.calls import DefinitionFailed

    try:
        return _with_caller(console, loaded, lambda caller: caller.define())
    except DefinitionFailed as exc:
        named = module_reference(console)
        kind, what = ("extra module", named) if named else ("module", str(loaded.config.root))
        message = (
            f'query module objects: loading modules: loading {kind} "{what}": '
            f'resolving module source "{what}": {exc}'
        )
        raise ModuleError(message) from exc
