"""Files: a path in a lazy tree."""

from __future__ import annotations

import hashlib
import posixpath
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from layerline.engine.api import container_export
from layerline.engine.api.fields import field
from layerline.engine.api.host_export import export_file
from layerline.engine.api.host_paths import host_path
from layerline.engine.api.names import is_plain_name
from layerline.engine.api.objects import File, Stat
from layerline.engine.api.resolvers.container_files import copy_file
from layerline.engine.api.tree_access import file_in, stat_at, tree_with
from layerline.engine.solve import ops
from layerline.engine.store.tree_digest import file_digest, tree_digest
from layerline.errors import QueryError

if TYPE_CHECKING:
    from layerline.engine.api.session import Call

MAX_CONTENTS = 128 * 1024 * 1024


@field("File", "sync")
async def sync(self: File, call: Call) -> str:
    """Evaluate the file and return its id."""
    file_in(await tree_with(call, self.tree, self.path), self.path)
    return call.session.identify(self)


@field("File", "name")
async def name(self: File, call: Call) -> str:
    """The last part of the path."""
    file_in(await tree_with(call, self.tree, self.path), self.path)
    return posixpath.basename(self.path)


@field("File", "size")
async def size(self: File, call: Call) -> int:
    """The size in bytes."""
    return file_in(await tree_with(call, self.tree, self.path), self.path).stat.st_size


@field("File", "stat")
async def stat(self: File, call: Call) -> Stat:
    """The type, size and permissions of the file."""
    return await stat_at(call, self.tree, self.path, follow=True)


@field("File", "contents")
async def contents(
    self: File, call: Call, *, offset_lines: int = 0, limit_lines: int | None = None
) -> str:
    """The text; bytes that are not UTF-8 are replaced. Lines are counted from 0."""
    tree = await tree_with(call, self.tree, self.path)
    entry = file_in(tree, self.path)
    if entry.stat.st_size > MAX_CONTENTS:
        message = (
            f"file size {entry.stat.st_size} exceeds limit {MAX_CONTENTS}: export the file instead"
        )
        raise QueryError(message)
    data = await call.session.solver.in_thread(tree.read, self.path)
    if offset_lines or limit_lines is not None:
        data = _lines(data, max(0, offset_lines), limit_lines)
    return data.decode(errors="replace")


def _lines(data: bytes, offset: int, limit: int | None) -> bytes:
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1].removesuffix(b"\n")
    end = None if limit is None or limit < 0 else offset + limit
    return b"".join(lines[offset:end])


@field("File", "digest")
async def digest(self: File, call: Call, *, exclude_metadata: bool = False) -> str:
    """The digest of content, mode and owner.

    Without metadata it is the digest of the content's digest, as in the Dagger engine.
    """
    tree = await tree_with(call, self.tree, self.path)
    entry = file_in(tree, self.path)
    if not exclude_metadata:
        return "sha256:" + await call.session.solver.in_thread(tree_digest, tree, self.path)
    of_bytes = await call.session.solver.in_thread(file_digest, entry.location)
    return "sha256:" + hashlib.sha256(bytes.fromhex(of_bytes)).hexdigest()


@field("File", "withName")
def with_name(self: File, _call: Call, *, name: str) -> File:
    """The same file under another name."""
    if not is_plain_name(name):
        message = f'file name "{name}" must not contain a directory'
        raise QueryError(message)
    return File(tree=copy_file(ops.Scratch(), f"/{name}", self), path=f"/{name}")


@field("File", "withTimestamps")
def with_timestamps(self: File, _call: Call, *, timestamp: int) -> File:
    """Set the modification time."""
    tree = ops.Timestamps(base=self.tree, path=self.path, timestamp=timestamp)
    return replace(self, tree=tree)


@field("File", "chown")
def chown(self: File, _call: Call, *, owner: str) -> File:
    """Change the owner."""
    return replace(self, tree=ops.Chown(base=self.tree, path=self.path, owner=owner))


@field("File", "withReplaced")
async def with_replaced(
    self: File,
    call: Call,
    *,
    search: str,
    replacement: str,
    all: bool = False,
    first_from: int | None = None,
) -> File:
    """Replace a text by another."""
    tree = ops.Replaced(
        base=self.tree,
        path=self.path,
        search=search,
        replacement=replacement,
        everywhere=all,
        first_from=first_from,
    )
    await call.session.solver.result(tree)
    return replace(self, tree=tree)


@field("File", "export")
async def export(self: File, call: Call, *, path: str, allow_parent_dir_path: bool = False) -> str:
    """Write the file to the host and return its absolute path."""
    entry = file_in(await tree_with(call, self.tree, self.path), self.path)
    if (process := call.client.process) is not None:
        name = posixpath.basename(self.path)
        write = partial(container_export.export_file, process, entry, name, path)
        return await call.session.solver.in_thread(
            partial(write, allow_parent=allow_parent_dir_path)
        )
    target = host_path(call, path)
    await call.session.solver.in_thread(
        partial(
            export_file,
            entry,
            posixpath.basename(self.path),
            target,
            allow_parent=allow_parent_dir_path,
        )
    )
    return str(target)
