"""Unified diffs, made and applied by git in a scratch directory with only the files concerned.

Invariant: git sees no file that the patch does not name, and no link of a tree leads it elsewhere.
"""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.engine.store.file_metadata import FileMetadata, clone
from layerline.engine.trees import git_program
from layerline.engine.trees.tree_diff import TreeDirectory, changes
from layerline.errors import CommandFailed, QueryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from layerline.engine.store.store import Store
    from layerline.engine.store.tree import Entry
    from layerline.engine.store.writer import Writer

FILE = "/diff.patch"
_NAMED = re.compile(rb"^(?:--- |\+\+\+ |(?:rename|copy) (?:from|to) )(.*)$", re.MULTILINE)
_HEADER = re.compile(rb"^diff --git (.*)$", re.MULTILINE)
_ESCAPES = {b"a": 7, b"b": 8, b"t": 9, b"n": 10, b"v": 11, b"f": 12, b"r": 13, b'"': 34, b"\\": 92}
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)")


@dataclass(frozen=True, slots=True)
class Edit:
    """The effect of a patch on a path.

    `after` is None, a link's target, or a file's bytes and whether it is executable.
    """

    path: str
    before: Entry | None
    after: str | tuple[bytes, bool] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineCount:
    """The number of added and removed lines of a file; `old_path` is set if it was renamed."""

    path: str
    old_path: str | None = None
    added: int = 0
    removed: int = 0


def make(store: Store, before: TreeDirectory, after: TreeDirectory) -> bytes:
    """The diff between two directories; empty if they do not differ."""
    files = changes(before, after).files
    if not files:
        return b""
    with git_program.workspace(store) as root:
        stage(before, files, root / "a")
        stage(after, files, root / "b")
        argv = ["diff", "--binary", "--no-prefix", "--no-renames", "--no-index", "a", "b"]
        return git_program.run(argv, cwd=root, expect=(0, 1)).stdout


def count_lines(store: Store, before: TreeDirectory, after: TreeDirectory) -> list[LineCount]:
    """The line counts of each changed file, with renames detected; binary files have none."""
    files = changes(before, after).files
    if not files:
        return []
    with git_program.workspace(store) as root:
        stage(before, files, root / "a")
        stage(after, files, root / "b")
        argv = ["diff", "--numstat", "-z", "--no-prefix", "--find-renames", "--no-index"]
        return list(_counts(git_program.run([*argv, "a", "b"], cwd=root, expect=(0, 1)).stdout))


def apply(store: Store, place: TreeDirectory, patch: bytes) -> list[Edit]:
    """The edits of a patch to a directory; QueryError if it does not apply."""
    if not patch.strip():
        return []
    paths = sorted(set(_named_paths(patch)))
    with git_program.workspace(store) as root:
        work = root / "work"
        stage(place, paths, work)
        try:
            git_program.run(
                ["apply", "--allow-empty", "--whitespace=nowarn", "-"], cwd=work, stdin=patch
            )
        except CommandFailed as exc:
            message = f"failed to apply patch: git apply: {exc.stderr.strip()}"
            raise QueryError(message) from exc
        return edits(place, paths, work)


def apply_edits(writer: Writer, root: str, edits: Sequence[Edit]) -> None:
    """Apply edits to the directory `root`.

    As in git, a directory is removed with its last file.
    """
    for edit in edits:
        path = posixpath.join(root, edit.path)
        if edit.before is not None:
            writer.remove(path)
        match edit.after:
            case None:
                pass
            case str(target):
                writer.symlink(target, path)
            case (data, executable):
                writer.write(path, data, mode=0o755 if executable else 0o644, replace=True)
    for edit in edits:
        if edit.after is None:
            _remove_empty(writer, root, posixpath.dirname(edit.path))


def _remove_empty(writer: Writer, root: str, directory: str) -> None:
    while directory:
        path = posixpath.join(root, directory)
        entry = writer.view.find(path, follow=False)
        if entry is not None and (not entry.is_dir or writer.view.children(entry)):
            return
        writer.remove(path)
        directory = posixpath.dirname(directory)


def edits(place: TreeDirectory, paths: Iterable[str], work: Path) -> list[Edit]:
    """The differences of these paths between a scratch directory and a tree."""
    found: list[Edit] = []
    for path in paths:
        real = work / path
        before = find_unfollowed(place, path)
        after: str | tuple[bytes, bool] | None = None
        if real.is_symlink():
            after = str(real.readlink())
        elif real.is_file():
            after = real.read_bytes(), bool(real.stat().st_mode & 0o100)
        if _content(before) != after:
            found.append(Edit(path, before, after))
    return found


def _content(entry: Entry | None) -> str | tuple[bytes, bool] | None:
    if entry is None or not (entry.is_symlink or entry.is_file):
        return None
    return entry.target if entry.is_symlink else (entry.read(), bool(entry.mode & 0o100))


def stage(place: TreeDirectory, paths: Iterable[str], root: Path) -> None:
    """Link the files at these paths into a scratch directory; symbolic links are kept."""
    root.mkdir()
    for path in paths:
        entry = find_unfollowed(place, path)
        if entry is None or not (entry.is_file or entry.is_symlink):
            continue
        name = posixpath.relpath(entry.path, place.entry().path)
        target = root / name
        if not target.is_symlink() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            clone(entry.location, entry.stat, str(target), FileMetadata.of(entry.stat), share=True)


def find_unfollowed(place: TreeDirectory, path: str) -> Entry | None:
    """The entry at a path, or the first link on the way."""
    here = place.entry()
    for name in path.split("/"):
        child = place.tree.child(here, name)
        if child is None or child.is_symlink:
            return child
        here = child
    return here


def _named_paths(patch: bytes) -> Iterator[str]:
    """Every path that a patch may name; content lines that look like names are harmless."""
    for found in _NAMED.finditer(patch):
        line = found.group(1).split(b"\t", 1)[0].rstrip(b"\r")
        full = found.group().startswith((b"rename", b"copy"))
        yield from _inside(_unquote(line), full=full)
    for found in _HEADER.finditer(patch):
        line = found.group(1).rstrip(b"\r")
        for cut in _cuts(line):
            yield from _inside(_unquote(cut), full=False)


def _cuts(line: bytes) -> Iterator[bytes]:
    """The two names of a header, wherever the space between them may be."""
    if line.startswith(b'"') or line.endswith(b'"'):
        yield from re.findall(rb'"(?:[^"\\]|\\.)*"|\S+', line)
        return
    for space in re.finditer(rb" ", line):
        yield line[: space.start()]
        yield line[space.end() :]


def _inside(name: bytes, *, full: bool) -> Iterator[str]:
    path = os.fsdecode(name if full else name.partition(b"/")[2])
    parts = path.split("/")
    if path and not {"", ".", ".."}.intersection(parts) and "\0" not in path:
        yield path


def _unquote(name: bytes) -> bytes:
    if len(name) < 2 or not (name.startswith(b'"') and name.endswith(b'"')):
        return name

    def plain(match: re.Match[bytes]) -> bytes:
        code = match.group(1)
        return bytes([int(code, 8) & 0xFF if len(code) == 3 else _ESCAPES.get(code, code[0])])

    return _ESCAPE.sub(plain, name[1:-1])


def _counts(output: bytes) -> Iterator[LineCount]:
    """Read `--numstat -z`: each file has two names, one of which may be /dev/null."""
    fields = iter(output.split(b"\0"))
    for head in fields:
        if not head:
            return
        added, removed, _ = head.split(b"\t")
        old, new = (os.fsdecode(next(fields)) for _ in range(2))
        old_path, new_path = old.partition("/")[2], new.partition("/")[2]
        kept = "/dev/null" not in (old, new)
        yield LineCount(
            path=old_path if new == "/dev/null" else new_path,
            old_path=old_path if kept and old_path != new_path else None,
            added=int(added) if added.isdigit() else 0,
            removed=int(removed) if removed.isdigit() else 0,
        )
