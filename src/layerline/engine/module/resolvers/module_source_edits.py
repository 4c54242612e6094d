"""The fields that give a module's source with another configuration; its files stay as they are."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from layerline.engine.api.fields import field
from layerline.engine.module.loading import load_module
from layerline.engine.module.resolvers.module_sources import caller_of, describe, fetcher
from layerline.engine.module.source import (
    ENGINE_VERSION,
    SELF_CALLS,
    Dependency,
    caches_functions,
    check_sdk,
    check_source,
)
from layerline.errors import QueryError

if TYPE_CHECKING:
    from layerline.engine.api.session import Call
    from layerline.engine.module.module_sources import ModuleSource
    from layerline.engine.module.source import ModuleConfig


async def _reload(self: ModuleSource, call: Call, **changes: Any) -> ModuleSource:
    """The source with changes of its configuration, under the name that this one has."""
    config = _config(self, call)
    config = replace(config, **changes, edits=(*config.edits, repr(changes)))
    loaded = await call.session.solver.in_thread(
        load_module, config, call.session.store, fetcher(call)
    )
    name = self.module_name if self.module_name != self.module_original_name else ""
    return describe(call, loaded, self.kind, name)


def _config(self: ModuleSource, call: Call) -> ModuleConfig:
    return caller_of(call, self).module.config


@field("ModuleSource", "withName")
def with_name(self: ModuleSource, _call: Call, *, name: str) -> ModuleSource:
    return replace(self, module_name=name)


@field("ModuleSource", "withSDK")
async def with_sdk(self: ModuleSource, call: Call, *, source: str) -> ModuleSource:
    config = _config(self, call)
    check_sdk(source, config.root)
    return await _reload(self, call, has_code=True)


@field("ModuleSource", "withSourceSubpath")
async def with_source_subpath(self: ModuleSource, call: Call, *, path: str) -> ModuleSource:
    config = _config(self, call)
    check_source(config.root, path)
    return await _reload(self, call, source=path)


@field("ModuleSource", "withIncludes")
async def with_includes(self: ModuleSource, call: Call, *, patterns: list[str]) -> ModuleSource:
    config = _config(self, call)
    return await _reload(self, call, include=(*config.include, *patterns))


@field("ModuleSource", "withEngineVersion")
async def with_engine_version(self: ModuleSource, call: Call, *, version: str) -> ModuleSource:
    config = _config(self, call)
    chosen = ENGINE_VERSION if version in ("", "latest") else version
    caching = caches_functions(chosen) and (config.caching or not config.engine_version)
    return await _reload(self, call, engine_version=chosen, caching=caching)


@field("ModuleSource", "withExperimentalFeatures")
async def with_experimental_features(
    self: ModuleSource, call: Call, *, features: list[str]
) -> ModuleSource:
    config = _config(self, call)
    return await _reload(self, call, self_calls=config.self_calls or SELF_CALLS in features)


@field("ModuleSource", "withoutExperimentalFeatures")
async def without_experimental_features(
    self: ModuleSource, call: Call, *, features: list[str]
) -> ModuleSource:
    config = _config(self, call)
    return await _reload(self, call, self_calls=config.self_calls and SELF_CALLS not in features)


@field("ModuleSource", "withDependencies")
async def with_dependencies(
    self: ModuleSource, call: Call, *, dependencies: list[ModuleSource]
) -> ModuleSource:
    config = _config(self, call)
    added = {each.module_name: _dependency(config, each, call) for each in dependencies}
    kept = tuple(each for each in config.dependencies if each.name not in added)
    return await _reload(self, call, dependencies=(*kept, *added.values()))


@field("ModuleSource", "withoutDependencies")
async def without_dependencies(
    self: ModuleSource, call: Call, *, dependencies: list[str]
) -> ModuleSource:
    config = _config(self, call)
    left = list(zip(config.dependencies, self.dependencies, strict=True))
    for name in dependencies:
        kept = [pair for pair in left if name not in (pair[1].module_name, pair[0].source)]
        if len(kept) == len(left):
            message = (
                f'dependency "{name}" was requested to be uninstalled, '
                "but it is not found in the dependencies list"
            )
            raise QueryError(message)
        left = kept
    return await _reload(self, call, dependencies=tuple(each for each, _ in left))


def _dependency(config: ModuleConfig, source: ModuleSource, call: Call) -> Dependency:
    """How a module names another one in its configuration."""
    theirs = _config(source, call)
    if theirs.origin is not None:
        origin = theirs.origin
        return Dependency(name=source.module_name, source=origin.reference, pin=origin.commit)
    if theirs.copied is not config.copied or (theirs.copied and theirs.context != config.context):
        message = (
            f"{source.module_name} is in another directory than {config.name}: give both in one"
        )
        raise QueryError(message)
    return Dependency(name=source.module_name, source=os.path.relpath(theirs.root, config.root))
