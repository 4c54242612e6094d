"""Merges changesets of the same directory by git's three-way merge.

Invariant: git works in a scratch directory, only on the files that some side changed.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.engine.trees import git_program, patch
from layerline.engine.trees.tree_diff import Changes, TreeDirectory, changes
from layerline.errors import CommandFailed, QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline import command
    from layerline.engine.store.store import Store
    from layerline.engine.trees.patch import Edit

_OURS = "ours"
_ADDED = "path added in both changesets"
_MODIFIED = "path modified in both changesets"
_REMOVED = "path modified in one changeset and removed in the other"
_BINARY = b"Cannot merge binary files"


class OnConflict(Enum):
    """How conflicts are handled, under the API's names."""

    FAIL_EARLY = "FAIL_EARLY"
    FAIL = "FAIL"
    LEAVE_CONFLICT_MARKERS = "LEAVE_CONFLICT_MARKERS"
    PREFER_OURS = "PREFER_OURS"
    PREFER_THEIRS = "PREFER_THEIRS"


@dataclass(frozen=True, slots=True)
class Conflict:
    """A file that two sides changed."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f'conflict between changesets at path "{self.path}": {self.reason}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One changeset: the directories before and after, and their differences."""

    before: TreeDirectory
    after: TreeDirectory
    changes: Changes

    @classmethod
    def of(cls, before: TreeDirectory, after: TreeDirectory) -> Side:
        """Compare two directories."""
        return cls(before=before, after=after, changes=changes(before, after))


def conflicts(one: Changes, other: Changes) -> list[Conflict]:
    """The files that both sides change in ways that may conflict."""
    added = {path for path in one.added if not path.endswith("/")}.intersection(other.added)
    modified = set(one.modified).intersection(other.modified)
    removed = set(one.modified).intersection(other.removed)
    removed |= set(one.removed).intersection(other.modified)
    return [
        *(Conflict(path, _ADDED) for path in sorted(added)),
        *(Conflict(path, _MODIFIED) for path in sorted(modified)),
        *(Conflict(path, _REMOVED) for path in sorted(removed)),
    ]


def refuse_conflicts(sides: Sequence[Side]) -> None:
    """Fail with every conflict of the first pair of sides that has one."""
    for first, one in enumerate(sides):
        for second, other in enumerate(sides[first + 1 :], first + 1):
            found = "\n".join(map(str, conflicts(one.changes, other.changes)))
            if found and len(sides) == 2:
                raise QueryError(found)
            if found and first == 0:
                message = f"conflict with changeset {second - 1}: {found}"
                raise QueryError(message)
            if found:
                message = f"conflict between changesets {first - 1} and {second - 1}: {found}"
                raise QueryError(message)


def merge(
    store: Store, base: TreeDirectory, sides: Sequence[Side], on_conflict: OnConflict
) -> list[Edit]:
    """The edits of all sides together to `base`; the first side is ours."""
    if on_conflict is OnConflict.FAIL_EARLY:
        refuse_conflicts(sides)
    paths = sorted({path for side in sides for path in side.changes.files if _mergeable(path)})
    with git_program.workspace(store) as root:
        work = root / "work"
        patch.stage(base, paths, work)
        git_program.run(["init", "--quiet", "--template="], cwd=work)
        _commit(work)
        branches = [_OURS, *(f"theirs-{number}" for number in range(1, len(sides)))]
        for branch, side in zip(branches, sides, strict=True):
            git_program.run(["checkout", "--quiet", "-b", branch, "main"], cwd=work)
            _apply(work, patch.make(store, side.before, side.after))
            _commit(work)
        git_program.run(["checkout", "--quiet", _OURS], cwd=work)
        done = _merge(work, branches[1:], on_conflict)
        if done.status != 0:
            _resolve(work, sides, on_conflict, done)
        return patch.edits(base, paths, work)


def _mergeable(path: str) -> bool:
    return path.split("/", 1)[0] != ".git"


def _commit(work: Path) -> None:
    git_program.run(["add", "--all", "--force", "."], cwd=work)
    git_program.run(
        ["commit", "--quiet", "--allow-empty", "--no-verify", "-m", "changes"], cwd=work
    )


def _apply(work: Path, patch: bytes) -> None:
    try:
        git_program.run(
            ["apply", "--allow-empty", "--whitespace=nowarn", "-"], cwd=work, stdin=patch
        )
    except CommandFailed as exc:
        message = f"failed to apply patch: git apply: {exc.stderr.strip()}"
        raise QueryError(message) from exc


def _merge(work: Path, branches: list[str], on_conflict: OnConflict) -> command.Finished:
    preference = {
        OnConflict.PREFER_OURS: ["-X", "ours"],
        OnConflict.PREFER_THEIRS: ["-X", "theirs"],
    }.get(on_conflict, [])
    argv = ["merge", "--no-edit", "--no-commit", *preference, *branches]
    return git_program.run(argv, cwd=work, expect=None)


def _resolve(
    work: Path, sides: Sequence[Side], on_conflict: OnConflict, done: command.Finished
) -> None:
    """Resolve the conflicts that git left, or fail with its output."""
    output = done.stdout + done.stderr
    leave = on_conflict is OnConflict.LEAVE_CONFLICT_MARKERS
    if on_conflict in (OnConflict.FAIL, OnConflict.FAIL_EARLY) or (leave and _BINARY in output):
        message = f"git merge: {output.decode(errors='replace').strip()}"
        raise QueryError(message)
    if leave:
        return
    preferred = sides[0] if on_conflict is OnConflict.PREFER_OURS else sides[1]
    for conflict in conflicts(sides[0].changes, sides[1].changes):
        if conflict.reason == _REMOVED and conflict.path in preferred.changes.removed:
            Path(work, posixpath.normpath(conflict.path)).unlink(missing_ok=True)
