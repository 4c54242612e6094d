"""The host of a client that runs in a container: that container, as on the Dagger engine.

Invariant: paths are opened below the container's root, so its links lead nowhere else, and only
directories and regular files are read.
"""

from __future__ import annotations

import os
import posixpath
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.engine.api.objects import Directory, File
from layerline.engine.api.secrets import MAX_BYTES
from layerline.engine.solve import ops
from layerline.engine.store.ingest import ingest
from layerline.engine.store.path_filter import PathFilter
from layerline.errors import IsADirectory, NotADirectory, PathNotFound, SecretError
from layerline.patterns import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.engine.runtime.confined_process import ConfinedProcess
    from layerline.engine.runtime.confined_root import ConfinedRoot
    from layerline.engine.store.store import Store

_SCHEME = "file://"


def read_directory(
    store: Store,
    process: ConfinedProcess,
    path: str,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    gitignore: bool = False,
) -> Directory:
    """A directory of the container, as it is now."""
    absolute = process.absolute(path.removeprefix(_SCHEME))
    with process.root() as root:
        _require_kind(root, absolute, directory=True)
        return _ingest(store, root, absolute, include, exclude, gitignore=gitignore)


def read_file(store: Store, process: ConfinedProcess, path: str) -> File:
    """A file of the container, as it is now."""
    absolute = process.absolute(path.removeprefix(_SCHEME))
    with process.root() as root:
        _require_kind(root, absolute, directory=False)
        parent, name = posixpath.split(root.resolve(absolute))
        tree = _ingest(store, root, parent, [escape(name)], (), gitignore=False).tree
        return File(tree=tree, path=f"/{name}")


def find_up(process: ConfinedProcess, name: str) -> str | None:
    """The path of the nearest entry of that name from the working directory upwards."""
    above = "."
    with process.root() as root:
        directory = process.absolute("")
        while root.stat(f"{directory}/{name}") is None:
            if directory == "/":
                return None
            directory, above = posixpath.dirname(directory), posixpath.join(above, "..")
    return posixpath.normpath(posixpath.join(above, name))


@dataclass(frozen=True, slots=True)
class ContainerSecrets:
    """Where the secrets of such a client are read: its variables, its files, a shell in it."""

    process: ConfinedProcess

    def variable(self, name: str) -> str | None:
        """A variable of the container's process."""
        return self.process.environ.get(name)

    def contents(self, path: str) -> bytes:
        """A file. Raises OSError where it cannot be read."""
        with self.process.root() as root:
            descriptor = root.open_file(self.process.absolute(path), os.O_RDONLY)
            with os.fdopen(descriptor, "rb") as stream:
                return stream.read(MAX_BYTES + 1)

    def output(self, text: str) -> bytes:
        """What a shell command prints. Raises SecretError where it fails."""
        if self.process.execute is None:
            message = "failed to run secret command: the container does not run"
            raise SecretError(message)
        done = self.process.execute(["sh", "-c", text])
        if done is None or done.status != 0:
            reason = "it took too long" if done is None else f"exit status {done.status}"
            message = f"failed to run secret command: {reason}"
            raise SecretError(message)
        return done.stdout

    def provided(self, scheme: str, _rest: str) -> bytes:
        """Nothing: the providers know the caller, not a container."""
        message = (
            f"only the main client can read {scheme}:// secrets: pass the secret as an argument"
        )
        raise SecretError(message)


def _require_kind(root: ConfinedRoot, path: str, *, directory: bool) -> None:
    found = root.stat(path)
    if found is None:
        raise PathNotFound(path)
    if stat.S_ISDIR(found.st_mode) == directory:
        return
    if directory:
        message = f"{path}: not a directory"
        raise NotADirectory(message)
    message = f"{path} is a directory, not a file"
    raise IsADirectory(message)


def _ingest(
    store: Store,
    root: ConfinedRoot,
    path: str,
    include: Sequence[str],
    exclude: Sequence[str],
    *,
    gitignore: bool,
) -> Directory:
    with root.open_path(path, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
        pinned = Path(f"/proc/self/fd/{descriptor}")
        chosen = PathFilter.of_host(pinned, include=include, exclude=exclude, gitignore=gitignore)
        done = ingest(store, pinned, path_filter=chosen, remember=False)
        return Directory(tree=ops.Stored(digest=done.digest, snapshots=(done.snapshot,)))
