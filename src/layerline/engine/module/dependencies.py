"""The modules that a dagger.json depends on: where they are, and that they form no circle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.engine.module.git_addresses import parse_reference
from layerline.engine.module.source import (
    CONFIG,
    normal_path,
    read_config,
    read_copied,
    read_fetched,
)
from layerline.errors import ModuleError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.engine.module.source import Dependency, FetchModule, ModuleConfig


def find_dependency(
    config: ModuleConfig, dependency: Dependency, fetch: FetchModule
) -> ModuleConfig:
    """The module that a dependency of another one names; `fetch` finds those of git references."""
    reference = parse_reference(dependency.source)
    if reference is not None and not (config.root / dependency.source).exists():
        return fetch(reference, dependency.pin)
    return _find_local(config, dependency)


def _find_local(config: ModuleConfig, dependency: Dependency) -> ModuleConfig:
    root = Path(normal_path(config.root / dependency.source))
    if not root.is_relative_to(config.context):
        message = (
            f'local module dependency source path "{dependency.source}" escapes context '
            f'"{config.context}": {config.root / CONFIG} can name modules of its git repository '
            "only"
        )
        raise ModuleError(message)
    if not root.exists():
        where = f'loading module "{config.root}": resolving module source "{config.root}"'
        message = (
            f"query module objects: loading modules: {where}: failed to resolve dep to source: "
            f'local path "{root}" does not exist'
        )
        raise ModuleError(message)
    if not (root / CONFIG).is_file():
        message = (
            f'dependency "{dependency.name or dependency.source}" of module "{config.name}": '
            f"{root} has no {CONFIG}"
        )
        raise ModuleError(message)
    subpath = root.relative_to(config.context).as_posix()
    if config.origin is not None:
        return read_fetched(config.context, replace(config.origin, subpath=subpath))
    if config.copied:
        return read_copied(config.context, subpath)
    return read_config(root)


def check_circle(config: ModuleConfig, above: Sequence[ModuleConfig]) -> None:
    """Refuse a module that leads to itself; `above` are those that led to it."""
    roots = [each.root for each in above]
    if config.root in roots:
        names = [each.name for each in (*above[roots.index(config.root) :], config)]
        message = f"module {config.name!r} depends on itself: {' -> '.join(names)}"
        raise ModuleError(message)
