"""Owners as text: `user[:group]`, by name or number, looked up in a tree's user database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline.errors import PathError, PathNotFound

if TYPE_CHECKING:
    from layerline.engine.store.tree import Tree

_LARGEST_ID = 2**32 - 2


def owner_ids(tree: Tree, root: str, owner: str) -> tuple[int, int] | None:
    """The (uid, gid) of an owner, None for an empty text.

    Without a group, the gid is the user's, as Dagger has it.
    """
    if not owner:
        return None
    user, separator, group = owner.partition(":")
    uid = _id_of(tree, root, user, file="passwd", kind="user", flag="uid")
    if not separator:
        return uid, uid
    return uid, _id_of(tree, root, group, file="group", kind="group", flag="gid")


def _id_of(tree: Tree, root: str, name: str, *, file: str, kind: str, flag: str) -> int:
    if name.isascii() and name.isdigit():
        number = int(name)
        if number > _LARGEST_ID:
            message = f"find {flag}: {name} is larger than {_LARGEST_ID}"
            raise PathError(message)
        return number
    if name == "root":
        return 0
    try:
        lines = tree.read(f"{root.rstrip('/')}/etc/{file}").decode(errors="replace").splitlines()
    except PathNotFound as exc:
        message = f"find {flag}: no such {kind}: {name}: open {exc}"
        raise PathError(message) from exc
    for line in lines:
        parts = line.split(":")
        if parts[0] == name and len(parts) > 2 and parts[2].isdigit():
            return int(parts[2])
    message = f"find {flag}: no such {kind}: {name}"
    raise PathError(message)
