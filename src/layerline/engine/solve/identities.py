"""Identities of results: what a step was made from, with contents in place of sources.

A key names the operations that files come from; an identity names the files of them that the step
sees, as BuildKit's content-based cache does. A step whose key is new is not run if a result of the
same identity exists.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from layerline.engine.solve import ops
from layerline.engine.solve.keys import KEY_EPOCH
from layerline.engine.solve.steps.copies import target_of
from layerline.engine.store.digest import digest_of
from layerline.errors import LayerlineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from layerline.engine.solve.contents import Contents
    from layerline.engine.solve.result import Result

_EPOCH = 1


def identity_of_view(op: ops.Op, inputs: Mapping[str, Result]) -> str:
    """The identity of an operation that only refers to an existing tree."""
    if isinstance(op, ops.ExecRootfs):
        made = inputs[op.exec.key].identity
        return op.key if made == op.exec.key else digest_of([KEY_EPOCH, _EPOCH, "rootfs", made])
    # Next to the mounted path, what an exec left of a mount has files that the exec did not see.
    return op.key


def identity_of_step(op: ops.Op, inputs: Mapping[str, Result], contents: Contents) -> str:
    """The identity of a step's result: its key, if nothing that it takes is known by content."""
    own = op.identity()
    names = {key: result.identity for key, result in inputs.items()}
    document: dict[str, Any] = {name: _renamed(item, names) for name, item in own.items()}
    with contextlib.suppress(LayerlineError):  # a missing path: the step itself reports it
        document |= _sources(op, document, contents)
    return op.key if document == own else digest_of([KEY_EPOCH, _EPOCH, document])


def _sources(op: ops.Op, document: dict[str, Any], contents: Contents) -> dict[str, Any]:
    """The members of a step's document that say what files it takes."""
    match op:
        case ops.CopyDirectory(base=ops.Scratch()) if op.is_filtered:
            return {}  # costs no more than to read it; what takes files of it sees the content
        case ops.CopyDirectory():
            rest = {"source_path": "", "include": [], "exclude": [], "gitignore": False}
            return {"source": contents.selected(op), **rest}
        case ops.CopyFile():
            content = contents.content(op.source, op.source_path)
            is_named = target_of(op, contents.tree(op.base)) != op.path
            return {
                "source": content,
                "source_path": "",
                "name": op.name if is_named else "",
            }
        case ops.DockerfileCopy():
            return {"source": contents.matches(op)}
        case ops.Exec():
            pairs = zip(op.mounts, document["mounts"], strict=True)
            return {"mounts": [_mount(mount, own, contents) for mount, own in pairs]}
        case _:
            return {}


def _mount(mount: ops.Mount, document: dict[str, Any], contents: Contents) -> dict[str, Any]:
    if not isinstance(mount, ops.DirectoryMount | ops.FileMount):
        return document
    return {**document, "source": contents.content(mount.source, mount.path), "path": ""}


def _renamed(document: object, names: Mapping[str, str]) -> object:
    """A document with other names for the operations in it."""
    match document:
        case {"$op": key}:
            return {"$op": names.get(key, key)}
        case dict():
            return {name: _renamed(item, names) for name, item in document.items()}
        case list():
            return [_renamed(item, names) for item in document]
        case _:
            return document
