"""A dagger.json as it is written: the keys in Dagger's order, what is not known kept.

The order is that of https://github.com/dagger/dagger/blob/v0.21.8/core/modules/config.go.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerline.cli.chain.modules import module_reference
from layerline.engine.module.git_addresses import parse_reference
from layerline.engine.module.source import (
    CONFIG,
    ENGINE_VERSION,
    is_older,
    normal_path,
    read_config,
)
from layerline.errors import Cancelled, HostError, LayerlineError, StoreError, UsageError
from layerline.replacement import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.cli.console import Console
    from layerline.engine.module.source import ModuleConfig

_ORDER = (
    "$schema",
    "name",
    "engineVersion",
    "sdk",
    "blueprint",
    "toolchains",
    "include",
    "dependencies",
    "source",
    "codegen",
    "clients",
    "disableDefaultFunctionCaching",
)
LATEST, SKIP = "latest", "skip"


@dataclass(slots=True, kw_only=True)
class ModuleFile:
    """The dagger.json in `root`."""

    root: Path
    document: dict[str, Any]

    @classmethod
    def read(cls, root: Path) -> ModuleFile:
        """Read a module's file, which must be valid."""
        read_config(root)
        document = json.loads((root / CONFIG).read_bytes())
        if isinstance(document.get("sdk"), str):
            document["sdk"] = {"source": document["sdk"]}
        return cls(root=root, document=document)

    def set(self, key: str, value: Any) -> None:  # noqa: ANN401 - a JSON value
        """Set a key, or remove it where there is nothing to say."""
        if value:
            self.document[key] = value
        else:
            self.document.pop(key, None)

    def target(self, version: str, config: ModuleConfig | None = None) -> None:
        """Set the version of the engine that the module is for; it is never lowered by default.

        A module that was for an engine without cached functions goes on without them.
        """
        if version == SKIP:
            return
        present = str(self.document.get("engineVersion") or "")
        if version != LATEST:
            self.document["engineVersion"] = f"v{version.removeprefix('v')}"
        elif not present or is_older(present, ENGINE_VERSION):
            self.document["engineVersion"] = ENGINE_VERSION
        if config is not None and not config.caching:
            self.document["disableDefaultFunctionCaching"] = True

    def text(self) -> str:
        """The file as it is written."""
        known = {key: self.document[key] for key in _ORDER if key in self.document}
        others = {key: value for key, value in self.document.items() if key not in known}
        return json.dumps({**known, **others}, ensure_ascii=False, indent=2) + "\n"

    def write(self) -> None:
        """Write the file; nothing is left half written."""
        self.root.mkdir(parents=True, exist_ok=True)
        place = self.root / CONFIG
        mode = stat.S_IMODE(place.stat().st_mode) if place.is_file() else 0o644
        with replacing(place) as out:
            out.write(self.text().encode())
            os.fchmod(out.fileno(), mode)


def local_module(console: Console) -> ModuleConfig:
    """The module of this machine that is to be changed: the one of -m, or around the directory."""
    named = module_reference(console)
    start = console.workdir / (named or ".")
    if not start.exists():
        if named and parse_reference(named):
            message = (
                f'module source "{named}" kind must be "local", got "git": only modules of this '
                "machine can be changed"
            )
        else:
            message = f'local path "{named}" does not exist'
        raise LayerlineError(message)
    for directory in (Path(normal_path(start)), *Path(normal_path(start)).parents):
        if (directory / CONFIG).is_file():
            return read_config(directory)
    message = f"module must be fully initialized: no {CONFIG} in {start} or above it, see 'init'"
    raise LayerlineError(message)


@contextmanager
def failing(what: str) -> Iterator[None]:
    """Say what failed before the reason; not where the machine or the command line is at fault."""
    try:
        yield
    except (HostError, StoreError, UsageError, Cancelled):
        raise
    except LayerlineError as exc:
        message = f"{what}: {exc}"
        raise LayerlineError(message) from exc
