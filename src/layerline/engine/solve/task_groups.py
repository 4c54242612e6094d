"""Task groups for the engine's own work.

Invariant: what comes out of a group is a failure as it was raised, never a group of failures.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import anyio

from layerline.errors import LayerlineError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import TaskGroup


@contextlib.asynccontextmanager
async def task_group() -> AsyncIterator[TaskGroup]:
    """A task group; the first failure with a message for the user ends it and is raised."""
    try:
        async with anyio.create_task_group() as group:
            yield group
    except BaseExceptionGroup as failures:
        reported = failures.subgroup(LayerlineError)
        if reported is None:
            raise
        first: BaseException = reported
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
