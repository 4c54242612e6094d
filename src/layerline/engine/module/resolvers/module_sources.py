"""The fields that find modules and say what they are: sources of modules, and modules."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING

from layerline.engine.api.fields import field
from layerline.engine.api.host_paths import host_path
from layerline.engine.api.tree_access import by_content
from layerline.engine.module.calls import Caller
from layerline.engine.module.git_addresses import parse_reference
from layerline.engine.module.git_modules import GitModules
from layerline.engine.module.loading import LoadedModule, load_module
from layerline.engine.module.module_sources import DIR, GIT, LOCAL, ModuleSource, SDKConfig
from layerline.engine.module.objects import ModuleObject
from layerline.engine.module.source import find_module, read_copied
from layerline.engine.store.writer import CopyOptions, Writer
from layerline.errors import ModuleError, QueryError

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.api.objects import Directory, Query
    from layerline.engine.api.session import Call
    from layerline.engine.module.definitions import Module
    from layerline.engine.module.source import FetchModule, ModuleConfig

__all__ = ["ModuleObject"]  # whose documents the store holds


@field("Query", "moduleSource")
async def module_source(
    _root: Query,
    call: Call,
    *,
    ref_string: str,
    ref_pin: str = "",
    disable_find_up: bool = False,
    require_kind: str = "",
    **_: object,
) -> ModuleSource:
    session = call.session
    fetch = fetcher(call)
    reference = parse_reference(ref_string)
    local = reference is None or (
        call.client.reaches_host and (session.workdir / ref_string).exists()
    )
    kind = LOCAL if local else GIT
    if require_kind and require_kind.removesuffix("_SOURCE") != kind.removesuffix("_SOURCE"):
        message = f'module source "{ref_string}" is of the kind {kind}, not {require_kind}'
        raise QueryError(message)

    def load() -> LoadedModule:
        if reference is not None and not local:
            return load_module(fetch(reference, ref_pin), session.store, fetch)
        place = host_path(call, ref_string)
        config = _find_local(place, ref_string, find_up=not disable_find_up)
        return load_module(config, session.store, fetch)

    return describe(call, await session.solver.in_thread(load), kind)


@field("Directory", "asModuleSource")
async def as_module_source(
    self: Directory, call: Call, *, source_root_path: str = "."
) -> ModuleSource:
    session = call.session
    stored = await by_content(call, self.tree)
    tree = session.store.tree(stored.snapshots)
    fetch = fetcher(call)
    name = f"module-{stored.digest[:32]}-{len(self.path)}"

    def load() -> LoadedModule:
        snapshots = session.store.snapshots
        if not snapshots.has(name):
            with snapshots.draft("a module's source") as draft:
                Writer(session.store.tree(()), draft.fs).copy(
                    tree, self.path, "/", CopyOptions(share=False)
                )
                draft.commit(name)
        root = posixpath.normpath(posixpath.join("/", source_root_path))
        config = read_copied(snapshots.path(name), root.lstrip("/") or ".")
        return load_module(config, session.store, fetch)

    return describe(call, await session.solver.in_thread(load), DIR)


@field("Directory", "asModule")
async def as_module(self: Directory, call: Call, *, source_root_path: str = ".") -> Module:
    return await source_as_module(
        await as_module_source(self, call, source_root_path=source_root_path), call
    )


@field("ModuleSource", "asModule")
async def source_as_module(self: ModuleSource, call: Call) -> Module:
    defined = await caller_of(call, self).define()
    return replace(defined, name=self.module_name, source=self)


@field("ModuleSource", "sync")
def sync_source(self: ModuleSource, call: Call) -> str:
    return call.session.identify(self)


@field("ModuleSource", "directory")
def source_directory(self: ModuleSource, _call: Call, *, path: str) -> Directory:
    inside = posixpath.join("/", self.source_root_subpath, path)
    return replace(self.context_directory, path=posixpath.normpath(inside))


@field("Module", "sync")
def sync_module(self: Module, call: Call) -> str:
    return call.session.identify(self)


@field("Module", "sdk")
def module_sdk(self: Module, _call: Call) -> SDKConfig | None:
    return self.source.sdk if self.source is not None else None


@field("Module", "dependencies")
async def module_dependencies(self: Module, call: Call) -> list[Module]:
    sources = self.source.dependencies if self.source is not None else ()
    return [await source_as_module(source, call) for source in sources]


@field("Module", "serve")
async def serve(
    self: Module, call: Call, *, include_dependencies: bool = False, entrypoint: bool = False
) -> None:
    if self.source is None:
        message = "only a module that was loaded from a source can be served"
        raise QueryError(message)
    await caller_of(call, self.source).serve(
        call.client, name=self.name, dependencies=include_dependencies, entrypoint=entrypoint
    )


def fetcher(call: Call) -> FetchModule:
    """What fetches the modules of git references for a client."""
    session = call.session
    return GitModules(store=session.store, settings=session.settings, reach=call.reach).fetch


def caller_of(call: Call, source: ModuleSource) -> Caller:
    """The session's caller of a module that was loaded in it."""
    found: Caller | None = call.session.modules.get(source.digest)
    if found is None:
        message = f"the module {source.module_name!r} was not loaded in this session"
        raise QueryError(message)
    return found


def _find_local(place: Path, shown: str, *, find_up: bool) -> ModuleConfig:
    if not place.exists():
        message = f'local path "{shown}" does not exist'
        raise ModuleError(message)
    if not find_up and not (place / "dagger.json").is_file():
        message = f"{shown} has no dagger.json, and none is looked for above it"
        raise ModuleError(message)
    return find_module(None, workdir=place)


def describe(call: Call, loaded: LoadedModule, kind: str, name: str = "") -> ModuleSource:
    """The source of a loaded module, which the session can call from now on."""
    Caller.of(call.session, loaded)
    config, origin = loaded.config, loaded.config.origin
    root = config.root_in_context
    source = posixpath.normpath(posixpath.join(root, config.source))
    here = str(config.root) if kind == LOCAL else root
    return ModuleSource(
        kind=kind,
        digest=loaded.digest,
        as_string=origin.reference if origin else here,
        module_name=name or config.name,
        module_original_name=config.name,
        engine_version=config.engine_version,
        context_directory=replace(loaded.source, path="/"),
        source_root_subpath=root,
        source_subpath=source,
        original_subpath=root,
        local_context_directory_path=str(config.context) if kind == LOCAL else "",
        clone_ref=origin.repository if origin else "",
        repo_root_path=origin.repository.partition("://")[2] if origin else "",
        version=origin.version if origin else "",
        commit=origin.commit if origin else "",
        pin=origin.commit if origin else "",
        sdk=SDKConfig(source="python"),
        dependencies=tuple(
            describe(call, each.module, GIT if each.module.config.origin else kind, each.name)
            for each in loaded.dependencies
        ),
    )
