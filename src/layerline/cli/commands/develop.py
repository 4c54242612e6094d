"""`develop` and `config`: a module's generated files, and what its dagger.json says."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING

from layerline.cli.chain.modules import load, module_reference
from layerline.cli.commands.flag_parsing import (
    add_switch,
    add_text_flag,
    parse_flags,
    print_help,
)
from layerline.cli.display.help import columns
from layerline.cli.flags import FlagSet
from layerline.cli.manage.generation import generate
from layerline.cli.manage.license_file import DEFAULT, check_license, write_license
from layerline.cli.manage.module_file import LATEST, SKIP, ModuleFile, failing, local_module
from layerline.cli.manage.sdk_choice import check_sdk, default_source, relative_source
from layerline.cli.options import reference_flags
from layerline.engine.module.source import CONFIG, normal_path, read_config
from layerline.errors import LayerlineError, UsageError
from layerline.text_file import read_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from layerline.cli.console import Console
    from layerline.engine.module.source import ModuleConfig

_DEVELOP = """Generate the files that a module's developer needs: its SDK with the types of its
dependencies, and the first code of a module that has none."""
_NOTHING_TO_DEVELOP = (
    "develop on a module without an SDK or clients requires either --sdk or --source"
)
_CONFIG = "Print what a module's dagger.json says"


def develop(console: Console, argv: Sequence[str]) -> int:
    """Generate a module's files again, or for the first time with --sdk."""
    path = f"{console.program} develop"
    flags = reference_flags(FlagSet((console.flags,)))
    sdk = add_text_flag(flags, "sdk", usage="SDK of a module without one (python)")
    source = add_text_flag(flags, "source", usage="Directory of the code, if not the module's root")
    chosen = add_text_flag(flags, "license", usage="License to write (SPDX), or none if empty")
    chosen.default = DEFAULT
    compat = add_text_flag(flags, "compat", usage="Engine API version to target")
    compat.default, compat.bare = LATEST, SKIP
    recursive = add_switch(flags, "recursive", "Also for the local dependencies", short="r")
    parse_flags(flags, argv, path)
    console.settle(flags)
    if console.options.help:
        print_help(console, about=_DEVELOP, path=path, local=flags)
        return 0
    check_license(str(chosen.value or "") if chosen.changed else "", path)
    base = local_module(console)
    for config in _with_local_dependencies(base, {}) if recursive.value else (base,):
        file, changed = _changed(
            console, config, sdk=str(sdk.value or ""), source=str(source.value or "")
        )
        file.target(str(compat.value or LATEST), config)
        with failing("failed to generate code"):
            generate(console, file, changed)
        if sdk.value:
            name = str(chosen.value) if chosen.changed else None
            write_license(console, config.root, config.context, name)
    return 0


def _changed(
    console: Console, config: ModuleConfig, *, sdk: str, source: str
) -> tuple[ModuleFile, ModuleConfig]:
    """A module with the SDK and the source that flags ask for."""
    file = ModuleFile.read(config.root)
    present = str(file.document.get("sdk", {}).get("source") or "")
    if sdk and present and sdk != present:
        message = f'cannot update module SDK that has already been set to "{present}"'
        raise LayerlineError(message)
    if not (sdk or present or source):
        message = f"{console.program} {_NOTHING_TO_DEVELOP}"
        raise LayerlineError(message)
    if sdk and not present:
        check_sdk(sdk)
        file.set("sdk", {"source": sdk})
    place = config.source if present else ""
    if source:
        wanted = relative_source(config, console.workdir, source)
        if place and wanted != posixpath.normpath(place):
            message = f'cannot update module source path that has already been set to "{place}"'
            raise LayerlineError(message)
        place = wanted
    place = place or default_source(config.root)
    file.set("source", "" if place == "." else place)
    return file, replace(config, source=place, has_code=bool(sdk or present))


def _with_local_dependencies(
    config: ModuleConfig, met: dict[Path, ModuleConfig]
) -> Iterator[ModuleConfig]:
    """A module and the modules of this machine that it depends on, each once."""
    if config.root in met:
        return
    met[config.root] = config
    yield config
    for dependency in config.dependencies:
        place = type(config.root)(normal_path(config.root / dependency.source))
        if (place / CONFIG).is_file():
            yield from _with_local_dependencies(read_config(place), met)


def config(console: Console, argv: Sequence[str]) -> int:
    """Print a module's name, SDK and place, or its dagger.json."""
    path = f"{console.program} config"
    flags = reference_flags(FlagSet((console.flags,)))
    as_json = add_switch(flags, "json", "Print the dagger.json", short="j")
    parse_flags(flags, argv, path)
    console.settle(flags)
    if console.options.help:
        print_help(console, about=_CONFIG, path=path, local=flags)
        return 0
    target = load(console)
    if target.loaded is None:
        message = "config needs a module: --no-mod gives none"
        raise UsageError(message, usage=path)
    found = target.loaded.config
    if as_json.value:
        console.print(read_text(found.root / CONFIG))
        return 0
    origin = found.origin
    context, root = str(found.context), str(found.root)
    if origin is not None:
        context, root = origin.repository, str(module_reference(console))
    rows = [
        ("Name:", found.name),
        ("SDK:", "python" if found.has_code else ""),
        ("Context Directory:", context),
        ("Source Root Directory:", root),
    ]
    console.print(columns(rows))
    return 0
