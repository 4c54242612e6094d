"""COPY and ADD: wildcards, trailing slashes and archives as BuildKit has them."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.engine.runtime import users
from layerline.engine.solve.steps.archives import is_archive, unpack_into
from layerline.engine.store.path_filter import PathFilter
from layerline.engine.store.writer import CopyOptions
from layerline.engine.trees.chmod import change_of, octal
from layerline.engine.trees.users import owner_ids
from layerline.errors import NotADirectory, PathError, PathNotFound
from layerline.patterns import Decision, Matcher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.engine.solve import ops
    from layerline.engine.solve.result import Result
    from layerline.engine.solve.step_context import StepContext
    from layerline.engine.store.store import Store
    from layerline.engine.store.tree import Entry, Tree
    from layerline.engine.store.writer import Writer

_WILDCARDS = frozenset("*?[")
_PIVOT = "/./"


def copy_into(op: ops.DockerfileCopy, step: StepContext) -> Result:
    """Copy what the patterns match."""
    source = step.tree(op.source)
    owner = _owner(step.tree(op.base), op.owner)

    def change(writer: Writer) -> None:
        copier = _Copier(op=op, source=source, writer=writer, owner=owner, store=step.context.store)
        for pattern in op.patterns:
            copier.copy_matches(pattern)

    return step.context.add_layer(step.key, step.layers(op.base), change)


def has_wildcards(pattern: str) -> bool:
    """Whether a pattern may match several paths."""
    return not _WILDCARDS.isdisjoint(pattern)


def matching(tree: Tree, pattern: str) -> list[str]:
    """The paths that a pattern matches; one without wildcards gives itself, existing or not."""
    if not has_wildcards(pattern):
        return [pattern]
    found = ["/"]
    for part in pattern.strip("/").split("/"):
        found = [child for path in found for child in _children(tree, path, part)]
    return found


def selections(
    op: ops.DockerfileCopy, source: Tree
) -> Iterator[tuple[str, str, PathFilter | None]]:
    """What a step copies: the name of each match that counts, its path, and what of it is left.

    Raises PathNotFound for a path without wildcards that does not exist.
    """
    for pattern in op.patterns:
        if op.parents:
            pivot, rest = _split_parents(pattern)
            for path in matching(source, pivot):
                include = [] if rest == "." else [rest]
                yield rest, path, PathFilter(source, path, include=include, exclude=op.exclude)
            continue
        for path in matching(source, pattern):
            if source.lookup(path).is_dir:
                yield "", path, PathFilter(source, path, exclude=op.exclude)
            elif not Matcher(op.exclude).matches(name := posixpath.basename(path)):
                yield name, path, None


def _split_parents(pattern: str) -> tuple[str, str]:
    """The path whose content is copied, and the pattern below it; `.` is all of it."""
    pivot, found, rest = pattern.partition(_PIVOT)
    if not found:
        pivot, rest = "/", pattern
    return pivot or "/", posixpath.normpath(rest).lstrip("/")


def _children(tree: Tree, path: str, part: str) -> Iterator[str]:
    if not has_wildcards(part):
        child = posixpath.join(path, part)
        if tree.find(child, follow=False) is not None:
            yield child
        return
    directory = tree.find(path)
    if directory is None or not directory.is_dir:
        return
    matcher = Matcher([part])
    for entry in tree.children(directory):
        if matcher.matches_exactly(entry.name):
            yield posixpath.join(path, entry.name)


def _owner(tree: Tree, text: str) -> tuple[int, int] | None:
    """The ids of `user[:group]`: a name brings its group, a number is the group's too."""
    if not text or text.replace(":", "").isdigit():
        return owner_ids(tree, "/", text)
    user = users.resolve(text, passwd=_text(tree, "/etc/passwd"), group=_text(tree, "/etc/group"))
    return user.uid, user.gid


def _text(tree: Tree, path: str) -> str:
    entry = tree.find(path)
    return tree.read(path).decode(errors="replace") if entry is not None and entry.is_file else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copier:
    op: ops.DockerfileCopy
    source: Tree
    writer: Writer
    owner: tuple[int, int] | None
    store: Store

    def copy_matches(self, pattern: str) -> None:
        """Copy everything that one pattern matches."""
        if self.op.parents:
            self._copy_with_parents(pattern)
            return
        for path in matching(self.source, pattern):
            self._copy(path, self._entry(path))

    def _copy_with_parents(self, pattern: str) -> None:
        pivot, rest = _split_parents(pattern)
        if not has_wildcards(pattern):
            self._entry(posixpath.join(pivot, rest))
        for path in matching(self.source, pivot):
            self._merge(self._entry(path), "" if rest == "." else rest)

    def _entry(self, path: str) -> Entry:
        try:
            return self.source.lookup(path)
        except (PathNotFound, NotADirectory) as exc:
            message = f'"{path}": not found'
            raise PathError(message) from exc

    def _copy(self, path: str, entry: Entry) -> None:
        name = posixpath.basename(path.rstrip("/"))
        if entry.is_dir:
            self._merge(entry)
        elif name and Matcher(self.op.exclude).matches(name):
            return
        elif self.op.unpack and is_archive(entry):
            self._make_directory(self.op.destination)
            unpack_into(entry, self.op.destination, self.writer, self.store)
        else:
            self._copy_file(name, entry)

    def _copy_file(self, name: str, entry: Entry) -> None:
        destination, existing = self.writer.view.resolve(self.op.destination)
        if self.op.destination.endswith("/") or (existing is not None and existing.is_dir):
            destination = posixpath.join(destination, name)
        self._make_directory(posixpath.dirname(destination))
        self.writer.put_file(destination, entry, mode=octal(self.op.mode), owner=self.owner)
        self._change_mode(destination, entry)

    def _merge(self, directory: Entry, include: str = "") -> None:
        """Copy the content of a directory, or what one pattern includes of it."""
        if not directory.is_dir:
            message = f"{directory.path}: not a directory"
            raise NotADirectory(message)
        destination = self.op.destination
        self._make_directory(destination)
        path_filter = PathFilter(
            self.source,
            directory.path,
            include=[include] if include else [],
            exclude=self.op.exclude,
        )
        self.writer.copy(
            self.source,
            directory.path,
            destination,
            CopyOptions(
                path_filter=path_filter,
                owner=self.owner,
                mode=octal(self.op.mode),
                through_links=True,
            ),
        )
        if self.op.mode and octal(self.op.mode) is None:
            prefix = len(directory.path.rstrip("/")) + 1
            for entry in self.source.walk(directory.path):
                relative = entry.path[prefix:]
                if path_filter(relative, is_dir=entry.is_dir) is Decision.KEEP:
                    self._change_mode(posixpath.join(destination, relative), entry)

    def _change_mode(self, path: str, entry: Entry) -> None:
        if self.op.mode and octal(self.op.mode) is None and not entry.is_symlink:
            self.writer.set(path, mode=change_of(self.op.mode)(entry.mode, entry.is_dir))

    def _make_directory(self, path: str) -> None:
        """Make a directory and the missing ones above it, each for the owner."""
        current = ""
        for name in filter(None, path.split("/")):
            current = f"{current}/{name}"
            if self.writer.view.find(current) is None:
                self.writer.mkdir(current, owner=self.owner or (0, 0))
        if current and not self.writer.view.lookup(current).is_dir:
            message = f"{current}: not a directory"
            raise NotADirectory(message)
