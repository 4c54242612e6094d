"""Which SDK a module is given, and where its code lies."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from layerline.engine.module.git_addresses import parse_reference
from layerline.errors import LayerlineError

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.module.source import ModuleConfig

_OTHERS = frozenset({"dang", "elixir", "go", "java", "php", "typescript"})
_HIDDEN_SOURCE = ".dagger"


def check_sdk(name: str) -> None:
    """Refuse what is not an SDK, and those that need the Dagger engine."""
    plain = name.partition("@")[0]
    if plain == "python":
        return
    where = "failed to generate code: failed to load sdk for module source"
    if plain in _OTHERS or parse_reference(name) is not None:
        message = (
            f'{where}: "{name}" is not supported: the embedded engine runs Python modules only'
        )
        raise LayerlineError(message)
    message = f'{where}: invalid SDK: "{name}"'
    raise LayerlineError(message)


def default_source(root: Path) -> str:
    """The root of an empty module; a directory of its own among other files."""
    present = [path.name for path in root.iterdir()] if root.is_dir() else []
    others = [name for name in present if not name.startswith(".") and name != "dagger.json"]
    return _HIDDEN_SOURCE if others or _HIDDEN_SOURCE in present else "."


def relative_source(config: ModuleConfig, workdir: Path, source: str) -> str:
    """A directory of the command line relative to the module, in which it must be."""
    found = posixpath.relpath(workdir / source, config.root)
    if found == ".." or found.startswith("../"):
        message = (
            f'failed to generate code: local module source subpath "{found}" escapes source root '
            f'"{config.root_in_context}"'
        )
        raise LayerlineError(message)
    return found
