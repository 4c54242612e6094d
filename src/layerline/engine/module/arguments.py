"""The arguments of a call: what was given, and the module's defaults for what was not.

A contextual default (a path, an address) is read afresh for every call.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from layerline.engine.module.host_files import read_directory, read_file
from layerline.engine.module.unread_files import unread_patterns
from layerline.engine.solve.keys import identity_of
from layerline.errors import LayerlineError, ModuleError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from layerline.engine.api.session import Session
    from layerline.engine.module.definitions import Function, FunctionArg, Json
    from layerline.engine.module.source import ModuleConfig
    from layerline.engine.store.store import Store


GIT = ("GitRepository", "GitRef")


class NeedsEngine(Exception):
    """A value that only a session can give, not the store alone."""


@dataclass(slots=True, kw_only=True, eq=False)
class Reader:
    """Reads host files into the store; `objects` are the values read so far, by id."""

    store: Store
    objects: dict[str, Any] = field(default_factory=dict)

    def directory(self, path: Path, *, ignore: tuple[str, ...] = ()) -> str:
        """The id of a directory of the host."""
        return self._remember(read_directory(self.store, path, exclude=ignore))

    def file(self, path: Path) -> str:
        """The id of a file of the host."""
        return self._remember(read_file(self.store, path))

    def introduce(self, session: Session) -> None:
        """Register the values that were read with a session."""
        for value in self.objects.values():
            session.identify(value)

    def _remember(self, value: Json) -> str:
        name = f"{value.typename}:{identity_of(value)}"
        self.objects[name] = value
        return name


def complete(
    function: Function, given: Mapping[str, Any], config: ModuleConfig, reader: Reader
) -> dict[str, Any]:
    """The arguments that the function's process gets, by their original names."""
    arguments: dict[str, Any] = {}
    for arg in function.args:
        if arg.name in given:
            arguments[arg.name] = given[arg.name]
        elif arg.default_path and arg.type_def.name in GIT:
            message = f'argument "{arg.name}" is a repository'
            raise NeedsEngine(message)
        elif arg.default_path:
            arguments[arg.name] = _contextual(arg, config, reader)
        elif arg.default_address:
            message = f'argument "{arg.name}" has a default address'
            raise NeedsEngine(message)
        elif arg.default_value not in (None, "null"):
            arguments[arg.name] = arg.default
    return arguments


def _contextual(arg: FunctionArg, config: ModuleConfig, reader: Reader) -> str:
    path = config.resolve(arg.default_path)
    try:
        if arg.type_def.name == "Directory":
            unread = unread_patterns(path) if config.is_shipped else ()
            return reader.directory(path, ignore=(*arg.ignore, *unread))
        if arg.type_def.name == "File":
            return reader.file(path)
    except LayerlineError as exc:
        message = f'load contextual default for argument "{arg.name}": {exc}'
        raise ModuleError(message) from exc
    message = (
        f'argument "{arg.name}": a default path for a {arg.type_def.name} is not supported by the '
        "embedded engine; give the argument on the command line"
    )
    raise ModuleError(message)
