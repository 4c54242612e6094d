"""An unfiltered copy of a directory is the same layer over every base that leads to it alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from layerline.engine.image.pack import tar_digest
from layerline.engine.solve import ops
from layerline.engine.store.writer import Writer

if TYPE_CHECKING:
    import pytest

    from tests.unit.solve.conftest import OpenSession, SolverSession

EMPTY = ops.Scratch()
LAYER = ops.NewFile(base=EMPTY, path="/lib/new/a.py", data=b"1")
PREFIX = ops.NewDirectory(base=EMPTY, path="/opt/venv/lib")
FURNISHED = ops.NewFile(base=PREFIX, path="/opt/venv/lib/other/b.py", data=b"2")


def copy_layer(base: ops.Op) -> ops.CopyDirectory:
    return ops.CopyDirectory(base=base, path="/opt/venv", source=LAYER)


async def top(session: SolverSession, op: ops.Op) -> str:
    return (await session.solver.result(op)).layers[-1]


async def test_what_is_below_and_next_to_it_does_not_change_the_layer(
    open_session: OpenSession,
) -> None:
    async with open_session() as session:
        alone, beside = (
            await top(session, copy_layer(PREFIX)),
            await top(session, copy_layer(FURNISHED)),
        )
        beneath = ops.NewFile(base=copy_layer(PREFIX), path="/opt/venv/lib/other/b.py", data=b"2")
        names = [entry.path for entry in session.store.tree(await result(session, beneath)).walk()]
    assert alone == beside
    assert "/opt/venv/lib/new/a.py" in names


async def test_of_many_steps_that_place_it_at_once_one_makes_it(
    open_session: OpenSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    copy = Writer.copy

    def count_copy(self: Writer, *args: Any, **options: Any) -> None:  # noqa: ANN401  as it has
        made.append(self)
        copy(self, *args, **options)

    monkeypatch.setattr(Writer, "copy", count_copy)
    bases = [ops.NewFile(base=PREFIX, path=f"/{number}", data=b"") for number in range(8)]
    async with open_session() as session, anyio.create_task_group() as group:
        for base in bases:
            group.start_soon(top, session, copy_layer(base))
    assert len(made) == 1


async def result(session: SolverSession, op: ops.Op) -> tuple[str, ...]:
    return (await session.solver.result(op)).layers


async def test_layers_made_apart_are_the_same_bytes(open_session: OpenSession) -> None:
    other = ops.NewFile(base=EMPTY, path="/lib/second/c.py", data=b"3")
    second = ops.CopyDirectory(base=copy_layer(PREFIX), path="/opt/venv", source=other)
    async with open_session() as session:
        snapshots = session.store.snapshots
        above = tar_digest(snapshots.path(await top(session, second)))
        first = ops.CopyDirectory(base=FURNISHED, path="/opt/venv", source=other, owner="0:0")
        assert tar_digest(snapshots.path(await top(session, first))) == above
        assert await top(session, first) != await top(session, second)


async def test_a_way_that_looks_different_is_another_layer(open_session: OpenSession) -> None:
    dated = ops.Timestamps(base=PREFIX, path="/opt", timestamp=1_700_000_000)
    async with open_session() as session:
        assert await top(session, copy_layer(dated)) != await top(session, copy_layer(PREFIX))


async def test_a_link_that_leads_elsewhere_makes_another_layer(open_session: OpenSession) -> None:
    there = ops.NewDirectory(base=PREFIX, path="/opt/venv/elsewhere")
    led = ops.Symlink(base=there, target="../elsewhere", path="/opt/venv/lib/new")
    async with open_session() as session:
        layers = await result(session, copy_layer(led))
        assert layers[-1] != await top(session, copy_layer(PREFIX))
        assert session.store.tree(layers).read("/opt/venv/elsewhere/a.py") == b"1"
