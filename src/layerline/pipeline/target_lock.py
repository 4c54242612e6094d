"""Writes the lock of a target: its packages resolved together, and the pins of its base."""

from collections.abc import Sequence

import dagger
from dagger import dag

from layerline.pipeline import lock, pylock
from layerline.pipeline.base_pins import insert_pins
from layerline.pipeline.diagnostics import FILE
from layerline.pipeline.errors import PipelineError
from layerline.pipeline.lock import LockError
from layerline.pipeline.project import Project
from layerline.pipeline.resolution import resolve
from layerline.pipeline.spans import span

FORMATS = ("requirements", "pylock")


async def write(
    project: Project,
    target: str,
    *,
    upgrade: Sequence[str],
    upgrade_base: bool,
    check: bool,
    format: str,
) -> dagger.File:
    """The lock in one of `FORMATS`; with `check` it has to be the one that the project has."""
    if format not in FORMATS:
        message = f"unknown format {format!r}: use {' or '.join(FORMATS)}"
        raise PipelineError(message)
    definition = await project.definition()
    current = await project.own_lock(target)
    theirs = await project.foreign_lock(definition, target)
    if theirs and format == "pylock":
        message = f"target {target} has a lock of another tool: use that one as it is"
        raise LockError(message)
    base = await project.pinned_base(definition, target, current, upgrade=upgrade_base)
    environment = await project.environment(definition, target, current, base)
    with span(f"lock {target}", steps=4):
        await environment.fetch_base()
        await environment.prepare()
        with span(f"resolve {target}"):
            resolved = await resolve(
                environment,
                definition,
                current=current,
                theirs=theirs,
                projects=await project.builds(definition, target),
                upgrade=upgrade,
            )
        locked = insert_pins(resolved, base)
        if check and locked != current:
            message = (
                f"{lock.path(target)} is out of date with {FILE}: "
                f"regenerate it with '{lock.command(target)}'"
            )
            raise LockError(message)
        made = dag.file(f"{target}.txt", locked)
        if format == "pylock":
            exported = await pylock.export(environment, definition, locked)
            made = dag.file(f"pylock.{target}.toml", exported)
        # As a part of the span: who saves it would write it in a step of its own.
        return await made.sync()
