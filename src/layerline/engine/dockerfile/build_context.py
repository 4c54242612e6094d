"""The build context: a directory without what .dockerignore names.

Invariant: a step's key depends on the bytes that it takes from the context, not on other
files.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.engine.api.tree_access import by_content, tree_of
from layerline.engine.solve import ops
from layerline.engine.solve.steps.dockerfile_copy import matching
from layerline.errors import PathError, QueryError
from layerline.patterns import parse_ignore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.engine.api.objects import Directory
    from layerline.engine.api.session import Call
    from layerline.engine.solve.ops import Op
    from layerline.engine.store.tree import Entry, Tree

_IGNORE = ".dockerignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildContext:
    """The files of a build context, `op`, evaluated."""

    call: Call
    op: Op
    tree: Tree

    @classmethod
    async def of(cls, call: Call, directory: Directory, dockerfile: str) -> BuildContext:
        """The context in a directory, for a Dockerfile in it."""
        tree = await tree_of(call, directory.tree)
        patterns = ignore_patterns(tree, directory.path, dockerfile)
        op = directory.tree
        if patterns or directory.path != "/":
            op = ops.CopyDirectory(
                base=ops.Scratch(),
                path="/",
                source=directory.tree,
                source_path=directory.path,
                exclude=tuple(patterns),
            )
        return cls(call=call, op=op, tree=await tree_of(call, op))

    async def part(self, patterns: Sequence[str]) -> Op:
        """A tree with what absolute patterns match, and perhaps more; equal bytes, equal key."""
        op = self.op
        if not any(self._leads_outside(pattern) for pattern in patterns):
            include = tuple(pattern.lstrip("/") for pattern in patterns)
            op = ops.CopyDirectory(base=ops.Scratch(), path="/", source=op, include=include)
        if isinstance(op, ops.Stored):
            return op
        return await by_content(self.call, op)

    def is_file(self, path: str) -> bool:
        """Whether a file is at the path."""
        entry = self.tree.find(path)
        return entry is not None and not entry.is_dir

    def _leads_outside(self, pattern: str) -> bool:
        """Whether a pattern matches everything, or something behind a symbolic link."""
        if pattern == "/":
            return True
        return any(self._is_elsewhere(path) for path in matching(self.tree, pattern))

    def _is_elsewhere(self, path: str) -> bool:
        entry = self.tree.find(path)
        return entry is not None and entry.path != path


def read_dockerfile(tree: Tree, root: str, path: str) -> str:
    """The text of a Dockerfile below the context's directory."""
    entry = _find(tree, _inside(root, path))
    if entry is None or entry.is_dir:
        reason = "no such file or directory" if entry is None else "is a directory"
        message = f"failed to read dockerfile: open {path}: {reason}"
        raise QueryError(message)
    return tree.read(entry.path).decode(errors="replace")


def ignore_patterns(tree: Tree, root: str, dockerfile: str) -> list[str]:
    """The patterns of <Dockerfile>.dockerignore, or else of .dockerignore."""
    for name in (f"{dockerfile}{_IGNORE}", _IGNORE):
        entry = _find(tree, _inside(root, name))
        if entry is not None and entry.is_file:
            return parse_ignore(tree.read(entry.path).decode(errors="replace"))
    return []


def _inside(root: str, path: str) -> str:
    return posixpath.join(root, posixpath.normpath("/" + path).lstrip("/"))


def _find(tree: Tree, path: str) -> Entry | None:
    try:
        return tree.find(path)
    except PathError:
        return None
