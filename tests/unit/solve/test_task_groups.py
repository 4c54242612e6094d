"""A failure inside a task group comes out as it was raised."""

from __future__ import annotations

import anyio
import pytest

from layerline.engine.solve.task_groups import task_group
from layerline.errors import ExecError, LayerlineError

FAILURE = ExecError(command=("false",), code=1, stdout="", stderr="")


async def fail(error: Exception) -> None:
    raise error


async def test_a_failure_of_the_block_is_not_wrapped_and_ends_the_others() -> None:
    async def block() -> None:
        async with task_group() as group:
            group.start_soon(anyio.sleep_forever)
            await fail(FAILURE)

    with pytest.raises(LayerlineError) as caught:
        await block()
    assert caught.value is FAILURE


async def test_a_failure_of_a_task_is_not_wrapped_either() -> None:
    async def block() -> None:
        async with task_group() as outer, task_group() as inner:
            outer.start_soon(anyio.sleep_forever)
            inner.start_soon(fail, FAILURE)

    with pytest.raises(LayerlineError) as caught:
        await block()
    assert caught.value is FAILURE


async def test_a_defect_stays_visible_as_one() -> None:
    async def block() -> None:
        async with task_group() as group:
            group.start_soon(fail, KeyError("x"))

    with pytest.raises(ExceptionGroup):
        await block()
