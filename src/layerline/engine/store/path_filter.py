"""The path filter of copies and imports: include and exclude patterns, and .gitignore files."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from layerline import kernel
from layerline.engine.store.gitignore import NAME, GitIgnore
from layerline.errors import PathError
from layerline.patterns import Decision, Filter, PathPredicate, PatternError, is_local

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from layerline.engine.store.tree import Tree

_LONGEST_IGNORE = 1 << 20  # bytes of a .gitignore that count
_ANSWERS = (Decision.DROP, Decision.PASS)


class PathFilter:
    """Decides which paths of a directory are kept."""

    def __init__(
        self,
        source: Tree,
        path: str,
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        gitignore: bool = False,
    ) -> None:
        self._parts: tuple[PathPredicate, ...] = (_filter(include, exclude),)
        if gitignore:
            self._parts += (GitIgnore(lambda directory: _from_tree(source, path, directory)),)

    @classmethod
    def of_host(
        cls,
        root: Path,
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        gitignore: bool = False,
    ) -> PathFilter:
        """A filter for a directory of the host; patterns that lead out of it are ignored."""
        self = cls.__new__(cls)
        inside = _filter(list(filter(is_local, include)), list(filter(is_local, exclude)))
        self._parts = (inside,)
        if gitignore:
            base = _git_root(root)
            above = "" if base == root else root.relative_to(base).as_posix()
            self._parts += (GitIgnore(lambda directory: _from_host(base, directory), above),)
        return self

    def __call__(self, path: str, *, is_dir: bool) -> Decision:
        """The strictest decision of all parts."""
        found = {part(path, is_dir=is_dir) for part in self._parts}
        return next((decision for decision in _ANSWERS if decision in found), Decision.KEEP)


def _filter(include: Sequence[str], exclude: Sequence[str]) -> Filter:
    try:
        return Filter(include, exclude)
    except PatternError as exc:
        message = f"invalid pattern: {exc}"
        raise PathError(message) from exc


def _from_tree(source: Tree, path: str, directory: str) -> bytes | None:
    name = f"{path}/{directory}/{NAME}"
    entry = source.find(name, follow=False)
    return source.read(name) if entry is not None and entry.is_file else None


def _from_host(base: Path, directory: str) -> bytes | None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        root = os.open(base, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # No directory that became a link during the walk leads out.
            descriptor = kernel.open_in_root(root, f"{directory}/{NAME}", flags)
        finally:
            os.close(root)
    except OSError:  # missing, a link, or unreadable: git ignores it, too
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(_LONGEST_IGNORE)
    finally:
        os.close(descriptor)


def _git_root(root: Path) -> Path:
    """The nearest directory upwards that holds .git; the directory itself where there is none."""
    candidates = (root, *root.parents)
    return next((place for place in candidates if (place / ".git").exists()), root)
