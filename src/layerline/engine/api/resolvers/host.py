"""The host: the caller's machine, whose directories and files are read once in a session.

For a program in a container it is that container.
"""

from __future__ import annotations

import functools
import posixpath
from typing import TYPE_CHECKING

from layerline.engine.api import container_host
from layerline.engine.api.fields import field
from layerline.engine.api.host_paths import host_path
from layerline.engine.api.objects import Directory, File, Host, Socket
from layerline.engine.solve import ops
from layerline.engine.store.digest import digest_of
from layerline.engine.store.ingest import Ingested, ingest
from layerline.engine.store.path_filter import PathFilter
from layerline.errors import IsADirectory, NotADirectory, PathNotFound, QueryError
from layerline.patterns import escape

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.api.session import Call
    from layerline.engine.store.store import Store


@field("Host", "directory")
async def directory(
    _self: Host,
    call: Call,
    *,
    path: str,
    exclude: list[str] | None = None,
    include: list[str] | None = None,
    no_cache: bool = False,
    gitignore: bool = False,
) -> Directory:
    """A directory of the host as it is now; patterns that are absolute or go up are not used."""
    if call.client.process is not None:
        return await call.session.solver.in_thread(
            functools.partial(
                container_host.read_directory,
                call.session.store,
                call.client.process,
                path,
                include=include or (),
                exclude=exclude or (),
                gitignore=gitignore,
            )
        )
    source = host_path(call, path)

    async def load() -> Directory:
        return await import_directory(
            call, source, include=include, exclude=exclude, gitignore=gitignore
        )

    if no_cache:
        return await load()
    key = digest_of(["host.directory", str(source), include, exclude, gitignore])
    found: Directory = await call.session.once(key, load)
    return found


async def import_directory(
    call: Call,
    source: Path,
    *,
    include: list[str] | None = None,
    exclude: list[str] | None = None,
    gitignore: bool = False,
) -> Directory:
    """Import a directory of the host into the store, identified by its content."""
    path_filter = PathFilter.of_host(
        source, include=include or (), exclude=exclude or (), gitignore=gitignore
    )
    done = await call.session.solver.in_thread(_ingest, call.session.store, source, path_filter)
    return Directory(tree=ops.Stored(digest=done.digest, snapshots=(done.snapshot,)))


def _ingest(store: Store, source: Path, path_filter: PathFilter) -> Ingested:
    if source.is_dir():
        return ingest(store, source, path_filter=path_filter)
    if source.exists():
        message = f"{source}: not a directory"
        raise NotADirectory(message)
    raise PathNotFound(str(source))


@field("Host", "file")
async def file(_self: Host, call: Call, *, path: str, no_cache: bool = False) -> File:
    """A file of the host as it is now."""
    if call.client.process is not None:
        return await call.session.solver.in_thread(
            container_host.read_file, call.session.store, call.client.process, path
        )
    source = host_path(call, path)

    async def load() -> File:
        if source.is_dir():
            message = f"{source} is a directory, not a file"
            raise IsADirectory(message)
        if not source.exists():
            raise PathNotFound(str(source))
        name = escape(source.name)
        parent = await import_directory(call, source.parent, include=[name])
        return File(tree=parent.tree, path=f"/{source.name}")

    if no_cache:
        return await load()
    found: File = await call.session.once(digest_of(["host.file", str(source)]), load)
    return found


@field("Host", "unixSocket")
def unix_socket(_self: Host, call: Call, *, path: str) -> Socket:
    """A unix socket of the host, for containers to connect to."""
    place = host_path(call, path)
    if not place.is_socket():
        message = f"{place} is not a unix socket" if place.exists() else None
        raise PathNotFound(str(place)) if message is None else QueryError(message)
    return Socket(path=str(place))


@field("Host", "findUp")
def find_up(_self: Host, call: Call, *, name: str, no_cache: bool = False) -> str | None:
    """The path of the nearest entry of that name, from the working directory upwards.

    It is relative to the working directory.
    """
    del no_cache  # a look at the file system is as cheap as a remembered one
    if call.client.process is not None:
        return container_host.find_up(call.client.process, name)
    workdir = call.session.workdir
    for directory in (workdir, *workdir.parents):
        if (directory / name).exists():
            up = posixpath.relpath(directory, workdir)
            return posixpath.normpath(posixpath.join(up, name))
    return None
