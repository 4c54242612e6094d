"""Search in files, by ripgrep.

Invariant: ripgrep runs in a directory that holds files of the tree and nothing else, follows no
link, and is given only paths that were found in the tree.
"""

from __future__ import annotations

import contextlib
import json
import posixpath
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict, Unpack

from layerline import command
from layerline.engine.api.container_paths import under
from layerline.engine.api.fields import field
from layerline.engine.api.objects import Directory, File, Value
from layerline.engine.api.tree_access import directory_in, file_in, tree_of
from layerline.engine.solve.keys import register
from layerline.engine.store.rmtree import remove_tree
from layerline.engine.store.writer import Writer
from layerline.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.engine.api.session import Call
    from layerline.engine.store.store import Store
    from layerline.engine.store.tree import Entry, Tree

_NOTHING_FOUND = 1


class Options(TypedDict, total=False):
    """What may be asked of a search, as the API has it."""

    paths: list[str]
    globs: list[str]
    literal: bool
    multiline: bool
    dotall: bool
    insensitive: bool
    skip_ignored: bool
    skip_hidden: bool
    files_only: bool
    limit: int


@register("SearchSubmatch")
@dataclass(frozen=True, kw_only=True)
class SearchSubmatch(Value):
    """A match in the lines of a result; positions are in bytes."""

    typename: ClassVar[str] = "SearchSubmatch"
    text: str
    start: int
    end: int


@register("SearchResult")
@dataclass(frozen=True, kw_only=True)
class SearchResult(Value):
    """Lines that match."""

    typename: ClassVar[str] = "SearchResult"
    file_path: str
    line_number: int = 0
    absolute_offset: int = 0
    matched_lines: str = ""
    submatches: tuple[SearchSubmatch, ...] = ()


@field("Directory", "search")
async def search_directory(
    self: Directory, call: Call, *, pattern: str, **options: Unpack[Options]
) -> list[SearchResult]:
    """Search below a directory, or in some paths of it."""
    tree = await tree_of(call, self.tree)
    root = directory_in(tree, self.path)
    found = []
    for path in options.get("paths", ()):
        if posixpath.normpath(path.lstrip("/") or ".").split("/")[0] == "..":
            message = f"path cannot escape directory: {path}"
            raise QueryError(message)
        found.append(tree.lookup(under(self.path, path).rstrip("/") or "/").path)
    below = [posixpath.relpath(path, root.path) for path in found]
    search = _Search(tree=tree, root=root, pattern=pattern, paths=tuple(below), options=options)
    return await call.session.solver.in_thread(search.find, call.session.store)


@field("File", "search")
async def search_file(
    self: File, call: Call, *, pattern: str, **options: Unpack[Options]
) -> list[SearchResult]:
    """Search in a file."""
    tree = await tree_of(call, self.tree)
    entry = file_in(tree, self.path)
    root = tree.lookup(posixpath.dirname(entry.path))
    search = _Search(tree=tree, root=root, pattern=pattern, paths=(entry.name,), options=options)
    return await call.session.solver.in_thread(search.find, call.session.store)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """One search; `paths` are relative to `root`, none of them means all of it."""

    tree: Tree
    root: Entry
    pattern: str
    paths: tuple[str, ...]
    options: Options

    def find(self, store: Store) -> list[SearchResult]:
        """The results, at most `limit` of them."""
        program = command.require("rg", package="ripgrep")
        with self._files(store) as place:
            arguments = [*self._arguments(), "--", *self.paths]
            done = command.run([program, *arguments], cwd=place, expect=None)
        if done.status not in (0, _NOTHING_FOUND) and not done.stdout:
            message = f"ripgrep error: {done.stderr.decode(errors='replace').strip()}"
            raise QueryError(message)
        lines = done.stdout.decode(errors="replace").splitlines()
        results = [SearchResult(file_path=line) for line in lines]
        if not self.options.get("files_only"):
            results = list(_results(lines))
        return results[: self.options.get("limit")]

    def _arguments(self) -> Iterator[str]:
        options = self.options
        flags = {
            "--fixed-strings": options.get("literal"),
            "--multiline": options.get("multiline"),
            "--multiline-dotall": options.get("dotall"),
            "--ignore-case": options.get("insensitive"),
            "--no-ignore": not options.get("skip_ignored"),
            "--hidden": not options.get("skip_hidden"),
            "--files-with-matches": options.get("files_only"),
            "--json": not options.get("files_only"),
        }
        yield from (flag for flag, wanted in flags.items() if wanted)
        yield from (f"--glob={glob}" for glob in options.get("globs", ()))
        yield from ("--no-config", "--no-follow", "--no-ignore-parent", "--sort=path")
        yield f"--regexp={self.pattern}"

    @contextlib.contextmanager
    def _files(self, store: Store) -> Iterator[Path]:
        """The files on the disk: the layer if a single one holds them all, else a copy by links."""
        if len(self.root.parts) == 1:
            yield Path(self.root.parts[0])
            return
        place = Path(tempfile.mkdtemp(prefix="search-", dir=store.scratch))
        try:
            Writer(store.tree(()), place).copy(self.tree, self.root.path, "/")
            yield place
        finally:
            remove_tree(place)


def _results(lines: list[str]) -> Iterator[SearchResult]:
    """Read `rg --json`; matches that are not text are left out."""
    for line in lines:
        message = json.loads(line)
        data = message["data"]
        if message["type"] != "match" or "text" not in data["path"] or "text" not in data["lines"]:
            continue
        yield SearchResult(
            file_path=data["path"]["text"],
            line_number=data["line_number"] or 0,
            absolute_offset=data["absolute_offset"],
            matched_lines=data["lines"]["text"],
            submatches=tuple(map(_submatch, data["submatches"])),
        )


def _submatch(part: dict[str, Any]) -> SearchSubmatch:
    text = part["match"].get("text", "")
    return SearchSubmatch(text=text, start=part["start"], end=part["end"])
