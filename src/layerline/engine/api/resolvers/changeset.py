"""Changesets: the differences between two directories, shown, merged and applied to others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from layerline.engine.api.fields import field
from layerline.engine.api.host_export import export_directory
from layerline.engine.api.host_paths import host_path
from layerline.engine.api.objects import Changeset, Directory, File, Value
from layerline.engine.api.tree_access import directory_in, file_in, tree_of
from layerline.engine.solve import ops
from layerline.engine.solve.keys import identity_of, register
from layerline.engine.store.digest import digest_of
from layerline.engine.store.rmtree import remove_tree
from layerline.engine.trees import merge, patch, tree_diff
from layerline.engine.trees.merge import OnConflict, Side
from layerline.engine.trees.tree_diff import Changes, TreeDirectory

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from layerline.engine.api.session import Call


@register("DiffStat")
@dataclass(frozen=True, kw_only=True)
class DiffStat(Value):
    """One changed path with its counts of added and removed lines."""

    typename: ClassVar[str] = "DiffStat"
    path: str
    kind: str
    old_path: str | None = None
    added_lines: int = 0
    removed_lines: int = 0


@field("Directory", "diff")
def diff(self: Directory, _call: Call, *, other: Directory) -> Directory:
    """The files that are new or changed in the other directory."""
    tree = ops.Diff(base=self.tree, base_path=self.path, other=other.tree, other_path=other.path)
    return Directory(tree=tree)


@field("Directory", "changes")
def changes(self: Directory, _call: Call, **arguments: Directory) -> Changeset:
    """The changes that lead `from` another directory to this one."""
    return Changeset(before=arguments["from"], after=self)


@field("Directory", "withChanges")
def with_changes(self: Directory, _call: Call, *, changes: Changeset) -> Directory:
    """Apply a changeset, removals included."""
    tree = ops.Changed(
        base=self.tree,
        path=self.path,
        before=changes.before.tree,
        before_path=changes.before.path,
        after=changes.after.tree,
        after_path=changes.after.path,
    )
    return replace(self, tree=tree)


@field("Directory", "withPatch")
def with_patch(self: Directory, _call: Call, *, patch: str) -> Directory:
    """Apply a unified diff."""
    return replace(self, tree=ops.Patched(base=self.tree, path=self.path, patch=patch.encode()))


@field("Directory", "withPatchFile")
async def with_patch_file(self: Directory, call: Call, *, patch: File) -> Directory:
    """Apply the unified diff in a file."""
    tree = await tree_of(call, patch.tree)
    data = await call.session.solver.in_thread(file_in(tree, patch.path).read)
    return replace(self, tree=ops.Patched(base=self.tree, path=self.path, patch=data))


@field("Changeset", "sync")
async def sync(self: Changeset, call: Call) -> str:
    """Make both directories."""
    await _places(call, self)
    return call.session.identify(self)


@field("Changeset", "addedPaths")
async def added_paths(self: Changeset, call: Call) -> list[str]:
    """The added paths; directories end in a slash."""
    return list((await _changes(call, self)).added)


@field("Changeset", "modifiedPaths")
async def modified_paths(self: Changeset, call: Call) -> list[str]:
    """The modified files."""
    return list((await _changes(call, self)).modified)


@field("Changeset", "removedPaths")
async def removed_paths(self: Changeset, call: Call) -> list[str]:
    """The removed paths; a directory stands for everything in it."""
    return list((await _changes(call, self)).removed)


@field("Changeset", "isEmpty")
async def is_empty(self: Changeset, call: Call) -> bool:
    """Whether no file was added, removed or modified."""
    return not (await _changes(call, self)).files


@field("Changeset", "layer")
def layer(self: Changeset, call: Call) -> Directory:
    """The added and modified files."""
    return diff(self.before, call, other=self.after)


@field("Changeset", "asPatch")
def as_patch(self: Changeset, _call: Call) -> File:
    """The changes as a unified diff."""
    tree = ops.ChangesPatch(
        before=self.before.tree,
        before_path=self.before.path,
        after=self.after.tree,
        after_path=self.after.path,
    )
    return File(tree=tree, path=patch.FILE)


@field("Changeset", "diffStats")
async def diff_stats(self: Changeset, call: Call) -> list[DiffStat]:
    """Each changed path, with its counts of added and removed lines."""
    before, after = await _places(call, self)
    found = await _changes(call, self)
    in_thread = call.session.solver.in_thread
    lines = await in_thread(patch.count_lines, call.session.store, before, after)
    counts = {count.path: count for count in lines}
    moved = {count.old_path for count in lines}
    stats: list[DiffStat] = []
    for kind, paths in (
        ("ADDED", found.added),
        ("MODIFIED", found.modified),
        ("REMOVED", [path for path in found.all_removed if path not in moved]),
    ):
        for path in paths:
            count = counts.get(path, patch.LineCount(path=path))
            renamed = kind == "ADDED" and count.old_path is not None
            stats.append(
                DiffStat(
                    path=path,
                    kind="RENAMED" if renamed else kind,
                    old_path=count.old_path if renamed else None,
                    added_lines=count.added,
                    removed_lines=count.removed,
                )
            )
    return sorted(stats, key=lambda stat: stat.path)


@field("Changeset", "export")
async def export(self: Changeset, call: Call, *, path: str) -> str:
    """Apply the changeset to a directory of the caller's machine."""
    target = host_path(call, path)
    removed = (await _changes(call, self)).removed
    tree = await tree_of(call, layer(self, call).tree)
    await call.session.solver.in_thread(_remove_paths, target, removed)
    write = partial(export_directory, tree, "/", target, wipe=False)
    await call.session.solver.in_thread(write)
    return str(target)


@field("Changeset", "withChangeset")
async def with_changeset(
    self: Changeset, call: Call, *, changes: Changeset, on_conflict: str = "FAIL"
) -> Changeset:
    """Both changes together."""
    return await _merge(call, [self, changes], OnConflict(on_conflict))


@field("Changeset", "withChangesets")
async def with_changesets(
    self: Changeset, call: Call, *, changes: list[Changeset], on_conflict: str = "FAIL"
) -> Changeset:
    """All changes together; those that change nothing are left out."""
    others = [other for other in changes if not await _is_empty(call, other)]
    if not others:
        return self
    return await _merge(call, [self, *others], OnConflict(on_conflict))


def _remove_paths(target: Path, removed: Iterable[str]) -> None:
    """Remove paths below a directory of the host, none of them through a link."""
    for path in removed:
        place = target / path.rstrip("/")
        above = [parent for parent in place.parents if target in parent.parents]
        if place.parent.is_dir() and not any(parent.is_symlink() for parent in above):
            remove_tree(place)


async def _is_empty(call: Call, changeset: Changeset) -> bool:
    found = await _changes(call, changeset)
    return not (found.added or found.modified or found.removed)


async def _merge(call: Call, sets: list[Changeset], on_conflict: OnConflict) -> Changeset:
    """Merge changesets, once in a session for the same ones."""
    before = _common_base(sets)
    key = f"merge-{digest_of([on_conflict.value, *map(identity_of, sets)])}"
    session = call.session
    below = (await session.solver.result(before.tree)).layers
    places = [await _places(call, each) for each in sets]

    def work() -> tuple[str, ...]:
        base = TreeDirectory(session.store.tree(below), before.path)
        sides = [Side.of(*pair) for pair in places]
        edits = merge.merge(session.store, base, sides, on_conflict)
        add = session.solver.context.add_layer
        return add(key, below, lambda top: patch.apply_edits(top, before.path, edits)).layers

    async def make() -> tuple[str, ...]:
        return await session.solver.in_thread(work)

    layers = await session.once(key, make)
    after = replace(before, tree=ops.Stored(digest=key, snapshots=layers))
    return Changeset(before=before, after=after)


def _common_base(sets: list[Changeset]) -> Directory:
    """The directories that the changes start from, merged in order, without `.git`."""
    first, *others = [each.before for each in sets]
    tree = first
    for last, other in zip([first, *others], others, strict=False):
        if other != last:
            copy = ops.CopyDirectory(
                base=tree.tree, path=tree.path, source=other.tree, source_path=other.path
            )
            tree = replace(tree, tree=copy)
    return replace(tree, tree=ops.Remove(base=tree.tree, paths=(".git",), root=tree.path))


async def _places(call: Call, changeset: Changeset) -> tuple[TreeDirectory, TreeDirectory]:
    """Evaluate both directories."""
    sides = changeset.before, changeset.after
    results = await call.session.solver.results([side.tree for side in sides])
    before, after = (
        TreeDirectory(call.session.store.tree(result.layers), side.path)
        for result, side in zip(results, sides, strict=True)
    )
    for place in (before, after):
        directory_in(place.tree, place.path)
    return before, after


async def _changes(call: Call, changeset: Changeset) -> Changes:
    """The paths that changed, compared once in a session."""
    before, after = await _places(call, changeset)

    async def make() -> Changes:
        return await call.session.solver.in_thread(tree_diff.changes, before, after)

    found: Changes = await call.session.once(f"changes {identity_of(changeset)}", make)
    return found
