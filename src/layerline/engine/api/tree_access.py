"""Reading trees for resolvers: evaluate the op, then look, in a thread."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from layerline.engine.api.objects import Stat
from layerline.engine.solve.ops import Stored
from layerline.engine.store.digest import digest_of
from layerline.engine.store.tree_digest import tree_digest
from layerline.errors import IsADirectory, NotADirectory

if TYPE_CHECKING:
    from layerline.engine.api.session import Call
    from layerline.engine.solve.ops import Op
    from layerline.engine.store.tree import Entry, Tree

_TABLE = "value"
_TYPES = {
    stat.S_IFREG: "REGULAR",
    stat.S_IFDIR: "DIRECTORY",
    stat.S_IFLNK: "SYMLINK",
}


async def tree_of(call: Call, op: Op) -> Tree:
    """The files that an op gives."""
    return await call.session.solver.tree(op)


async def tree_with(call: Call, op: Op, path: str) -> Tree:
    """The files that an op gives, or the one at a path alone where it is known without others."""
    return await call.session.solver.tree(op, path)


async def by_content(call: Call, op: Op) -> Stored:
    """The files of an op, identified by their content alone."""
    session = call.session
    layers = (await session.solver.result(op)).layers
    row = session.store.index.get(_TABLE, f"contents {op.key}")
    if row is None:
        digest = await session.solver.in_thread(tree_digest, session.store.tree(layers))
        row = {"digest": digest}
        session.store.index.put(_TABLE, f"contents {op.key}", row, snapshots=layers)
    content = Stored(digest=digest_of(["contents", str(row["digest"])]), snapshots=layers)
    if session.solver.context.shared is not None:
        await session.solver.in_thread(session.solver.sharing.know_content, content, op)
    return content


def directory_in(tree: Tree, path: str) -> Entry:
    """The directory at a path. Raises NotADirectory for a file."""
    entry = tree.lookup(path)
    if not entry.is_dir:
        message = f"path {path} is a file, not a directory"
        raise NotADirectory(message)
    return entry


def file_in(tree: Tree, path: str) -> Entry:
    """The file at a path. Raises IsADirectory for a directory."""
    entry = tree.lookup(path)
    if entry.is_dir:
        message = f"path {path} is a directory, not a file"
        raise IsADirectory(message)
    return entry


async def exists_at(
    call: Call, op: Op, path: str, expected_type: str | None, *, follow: bool
) -> bool:
    """Whether something of the expected type (`REGULAR_TYPE`, ...) is at a path."""
    tree = await tree_of(call, op)
    if expected_type == "SYMLINK_TYPE":
        follow = False
    _, entry = tree.resolve(path, follow=follow)
    if entry is None:
        return False
    return expected_type is None or file_type(entry) == expected_type.removesuffix("_TYPE")


async def stat_at(call: Call, op: Op, path: str, *, follow: bool) -> Stat:
    """The type, size and permissions of a path; a link that is followed gives its target's name."""
    entry = (await tree_with(call, op, path)).lookup(path, follow=follow)
    return Stat(
        name=entry.name or "/",
        size=entry.stat.st_size,
        permissions=stat.S_IMODE(entry.stat.st_mode) & 0o777,
        file_type=file_type(entry),
    )


def file_type(entry: Entry) -> str:
    """REGULAR, DIRECTORY, SYMLINK or UNKNOWN."""
    return _TYPES.get(stat.S_IFMT(entry.stat.st_mode), "UNKNOWN")
