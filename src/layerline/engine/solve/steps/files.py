"""Creation, removal and metadata of files, directories and links: each a small new layer."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from layerline.engine.solve.result import Result
from layerline.engine.solve.steps.dockerfile_copy import matching
from layerline.engine.trees.users import owner_ids
from layerline.errors import IsADirectory, PathExists, QueryError

if TYPE_CHECKING:
    from layerline.engine.solve import ops
    from layerline.engine.solve.step_context import StepContext
    from layerline.engine.store.tree import Tree
    from layerline.engine.store.writer import Writer


def owner_of(
    op: ops.NewFile | ops.CopyFile | ops.CopyDirectory | ops.Chown, step: StepContext
) -> tuple[int, int] | None:
    """The ids that an op's owner stands for."""
    if op.names is None:
        return owner_ids(step.tree(op.base), "/", op.owner)
    return owner_ids(step.tree(op.names.tree), op.names.path, op.owner)


def new_file(op: ops.NewFile, step: StepContext) -> Result:
    """Write bytes; a Directory keeps the mode of an existing file, a Container does not."""
    owner = owner_of(op, step)
    path = op.path
    existing = step.tree(op.base).find(path)
    if existing is not None and existing.is_dir:
        if op.keep_mode:
            message = f"open {path}: is a directory"
            raise IsADirectory(message)
        # Dagger's container makes the file elsewhere and copies it: a directory takes it in.
        path = posixpath.join(path, posixpath.basename(path.rstrip("/")))

    def change(writer: Writer) -> None:
        mode = op.mode or 0o644
        if not op.keep_mode:
            writer.write(path, op.data, mode=mode, owner=owner or (0, 0), replace=True)
        elif existing is not None:
            writer.write(path, op.data)
        else:
            writer.write(path, op.data, mode=mode)

    return step.context.add_layer(step.key, step.layers(op.base), change)


def new_directory(op: ops.NewDirectory, step: StepContext) -> Result:
    """Make a directory; one that exists keeps its content."""

    mode = op.mode or 0o755

    def change(writer: Writer) -> None:
        writer.mkdir(op.path, mode=mode, parent_mode=mode)

    return step.context.add_layer(step.key, step.layers(op.base), change)


def symlink(op: ops.Symlink, step: StepContext) -> Result:
    """Make a link."""
    if step.tree(op.base).find(op.path, follow=False) is not None:
        message = f"symlink {op.target} {op.path}: file exists"
        raise PathExists(message)
    return step.context.add_layer(
        step.key, step.layers(op.base), lambda writer: writer.symlink(op.target, op.path)
    )


def remove(op: ops.Remove, step: StepContext) -> Result:
    """Remove paths; when none of them exists the tree stays as it is."""
    tree = step.tree(op.base)
    targets = [target for path in op.paths for target in _targets(tree, op.root, path)]
    if not targets:
        return Result(layers=step.layers(op.base))

    def change(writer: Writer) -> None:
        for target in targets:
            writer.remove(target)

    return step.context.add_layer(step.key, step.layers(op.base), change)


def _targets(tree: Tree, root: str, path: str) -> list[str]:
    full_path = posixpath.join(root, posixpath.normpath("/" + path).lstrip("/"))
    found = matching(tree, full_path) if "*" in path else [full_path]
    return [
        target
        for target in found
        if target != "/" and tree.resolve(target, follow=False)[1] is not None
    ]


def chown(op: ops.Chown, step: StepContext) -> Result:
    """Give a path and all below it to an owner."""
    owner = owner_of(op, step)

    def change(writer: Writer) -> None:
        writer.set(op.path, owner=owner, recursive=True)

    return step.context.add_layer(step.key, step.layers(op.base), change)


def timestamps(op: ops.Timestamps, step: StepContext) -> Result:
    """Set one time everywhere."""

    def change(writer: Writer) -> None:
        writer.set(op.path, mtime=op.timestamp, recursive=True)

    return step.context.add_layer(step.key, step.layers(op.base), change)


def replace_text(op: ops.Replaced, step: StepContext) -> Result:
    """Replace a text in a file."""
    tree = step.tree(op.base)
    entry = tree.lookup(op.path)
    if entry.is_dir:
        message = f"{op.path} is a directory, not a file"
        raise IsADirectory(message)
    text = _with_replacement(tree.read(op.path), op)

    def change(writer: Writer) -> None:
        writer.write(op.path, text)

    return step.context.add_layer(step.key, step.layers(op.base), change)


def _with_replacement(data: bytes, op: ops.Replaced) -> bytes:
    search, replacement = op.search.encode(), op.replacement.encode()
    start = _line_start(data, op.first_from) if op.first_from is not None else 0
    if op.everywhere:
        return data[:start] + data[start:].replace(search, replacement)
    count = data.count(search, start)
    if count == 0:
        message = f"search string not found in {op.path}"
        raise QueryError(message)
    if count > 1 and op.first_from is None:
        advice = "give more of it, or set all or firstFrom"
        message = f"search string found multiple times: {_places(data, search)}; {advice}"
        raise QueryError(message)
    return data[:start] + data[start:].replace(search, replacement, 1)


def _places(data: bytes, search: bytes) -> str:
    """Where a text is found, as lines and byte ranges in them, in the form of the API's search."""
    places = []
    start = data.find(search)
    while start >= 0:
        column = start - (data.rfind(b"\n", 0, start) + 1)
        line = data.count(b"\n", 0, start) + 1
        places.append(f"line {line} ({column}-{column + len(search)})")
        start = data.find(search, start + max(1, len(search)))
    return ", ".join(places)


def _line_start(data: bytes, line: int) -> int:
    start = 0
    for _ in range(line - 1):
        end = data.find(b"\n", start)
        if end < 0:
            return len(data)
        start = end + 1
    return start
