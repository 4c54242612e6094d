"""What the files that a step takes from another one are known by: their content.

Times are not part of it, unless a step on the way has set them: an exec may read those. Large trees
that a step made are not read; they are known by the step.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from layerline.engine.solve import ops
from layerline.engine.solve.keys import children
from layerline.engine.solve.steps.dockerfile_copy import selections
from layerline.engine.store.digest import digest_of
from layerline.engine.store.import_digests import digest_in_import
from layerline.engine.store.path_filter import PathFilter
from layerline.engine.store.tree_digest import Selection, TooLarge, tree_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from layerline.engine.solve.keys import Keyed
    from layerline.engine.solve.result import Result
    from layerline.engine.store.store import Store
    from layerline.engine.store.tree import Tree

_TABLE = "content"
_EPOCH = 1
_MOST_ENTRIES = 4096
_MOST_BYTES = 128 << 20
_TOO_LARGE = ""


@dataclass(slots=True, kw_only=True, eq=False)
class Contents:
    """The contents of one session's results. Safe for threads.

    `results` are those of all operations that were evaluated, by key.
    """

    store: Store
    results: Mapping[str, Result]
    _digests: dict[str, str] = field(default_factory=dict)
    _kinds: dict[type[ops.Op], dict[str, bool]] = field(default_factory=dict)

    def tree(self, op: ops.Op) -> Tree:
        """The files of an evaluated operation."""
        return self.store.tree(self.results[op.key].layers)

    def content(self, op: ops.Op, path: str) -> str:
        """What a file or directory of an evaluated operation is known by."""
        layers = self.results[op.key].layers
        if not self.has(ops.Timestamps, op):
            # An exec that leaves a mount as it is gives the layer of the import.
            if len(layers) == 1 and (known := digest_in_import(self.store, layers[0], path)):
                return known
            if isinstance(op, ops.Stored) and path == "/":
                return op.digest
        return self._content(op, path, lambda tree, part: tree_digest(tree, path, part))

    def selected(self, op: ops.CopyDirectory) -> str:
        """What the files that a copy selects are known by."""
        if not op.is_filtered:
            return self.content(op.source, op.source_path)

        def digest(tree: Tree, part: Selection) -> str:
            path_filter = PathFilter(
                tree,
                op.source_path,
                include=op.include,
                exclude=op.exclude,
                gitignore=op.gitignore,
            )
            return tree_digest(tree, op.source_path, replace(part, path_filter=path_filter))

        patterns = [op.include, op.exclude, op.gitignore]
        return self._content(op.source, op.source_path, digest, patterns)

    def matches(self, op: ops.DockerfileCopy) -> str:
        """What the files that COPY or ADD takes are known by."""
        if op.takes_all:
            return self.content(op.source, "/")

        def digest(tree: Tree, part: Selection) -> str:
            found = [
                [name, tree_digest(tree, path, replace(part, path_filter=path_filter))]
                for name, path, path_filter in selections(op, tree)
            ]
            return digest_of(found)

        matching = [op.patterns, op.exclude, op.parents]
        return self._content(op.source, "/", digest, matching)

    def _content(
        self,
        op: ops.Op,
        path: str,
        digest: Callable[[Tree, Selection], str],
        patterns: object = None,
    ) -> str:
        layers, times = self.results[op.key].layers, self.has(ops.Timestamps, op)
        bounded = not isinstance(op, ops.Stored)
        key = digest_of([_EPOCH, layers, path, patterns, times, bounded])
        found = self._digests.get(key)
        if found is None:
            row = self.store.index.get(_TABLE, key)
            if row is None:
                part = Selection(times=times)
                if bounded:
                    part = replace(part, entries=_MOST_ENTRIES, size=_MOST_BYTES)
                try:
                    row = {"digest": digest(self.store.tree(layers), part)}
                except TooLarge:
                    row = {"digest": _TOO_LARGE}
                self.store.index.put(_TABLE, key, row, snapshots=layers)
            found = self._digests[key] = str(row["digest"])
        return found or digest_of([_EPOCH, *self._made(op, path), patterns])

    def _made(self, op: ops.Op, path: str) -> list[object]:
        """A path of a tree by the step that made it."""
        if isinstance(op, ops.ExecMount):
            mount = op.exec.mounts[op.index]
            assert isinstance(mount, ops.DirectoryMount | ops.FileMount)
            if posixpath.join(path, "").startswith(posixpath.join(mount.path, "")):
                # What is next to the mounted path is not the exec's.
                below = posixpath.relpath(path, mount.path)
                return ["mount", self.results[op.exec.key].identity, op.index, below]
        return ["tree", self.results[op.key].identity, path]

    def has(self, kind: type[ops.Op], op: Keyed) -> bool:
        """Whether an operation, or one that it is made of, is of a kind."""
        known = self._kinds.setdefault(kind, {})
        pending: list[Keyed] = [op]
        while pending:
            top = pending[-1]
            below = [] if isinstance(top, kind) else list(children(top))
            missing = [each for each in below if each.key not in known]
            pending += missing
            if not missing:
                known[top.key] = isinstance(top, kind) or any(known[each.key] for each in below)
                pending.pop()
        return known[op.key]
