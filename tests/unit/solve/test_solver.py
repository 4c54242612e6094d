"""Each key is evaluated once, in this session and the next; failures are not remembered."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio
import pytest

from layerline.engine.solve import ops
from layerline.engine.solve.step_context import WALKS
from layerline.engine.solve.steps import evaluate
from layerline.errors import IsADirectory, PathNotFound
from layerline.log import Status

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.solve.result import Result
    from layerline.engine.solve.step_context import StepContext
    from tests.unit.solve.conftest import OpenSession


def a_file(name: str = "/a", data: bytes = b"x", base: ops.Op | None = None) -> ops.NewFile:
    return ops.NewFile(base=base or ops.Scratch(), path=name, data=data)


def lose(place: Path) -> None:
    place.rename(place.with_name("gone"))


async def test_a_step_is_made_once_however_many_ask(open_session: OpenSession) -> None:
    async with open_session() as session:
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(session.solver.result, a_file())
        assert session.completed_steps().count("withNewFile /a") == 1


async def test_a_step_is_not_made_again_by_a_later_session(open_session: OpenSession) -> None:
    async with open_session() as session:
        await session.solver.result(a_file())
    async with open_session() as session:
        assert await session.read(a_file(), "/a") == b"x"
        assert session.completed_steps() == []
        assert [e.status for e in session.events if e.status] == [Status.CACHED]


async def test_only_the_steps_after_a_change_are_made(open_session: OpenSession) -> None:
    async with open_session() as session:
        await session.solver.result(a_file("/b", base=a_file()))
    async with open_session() as session:
        await session.solver.result(a_file("/c", base=a_file()))
        assert session.completed_steps() == ["withNewFile /c"]


async def test_few_steps_walk_over_files_at_once(
    open_session: OpenSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's lock lets one go on; more take turns at it, which costs as much as the steps."""
    running: list[ops.Op] = []
    most: list[int] = []

    def observe(op: ops.Op, step: StepContext) -> Result:
        running.append(op)
        most.append(len(running))
        time.sleep(0.02)
        running.remove(op)
        return evaluate(op, step)

    monkeypatch.setattr("layerline.engine.solve.solver.evaluate", observe)
    async with open_session() as session, anyio.create_task_group() as group:
        for number in range(4 * WALKS):
            group.start_soon(session.solver.result, a_file(data=b"%d" % number))
    assert max(most) == WALKS


async def test_a_failure_is_raised_for_everybody_and_tried_again(open_session: OpenSession) -> None:
    directory = ops.NewDirectory(base=ops.Scratch(), path="/d")
    wrong = ops.NewFile(base=directory, path="/d", data=b"", keep_mode=True)
    async with open_session() as session:
        for _ in range(2):
            with pytest.raises(IsADirectory):
                await session.solver.result(wrong)
        failed = [event for event in session.events if event.status is Status.ERROR]
        assert len(failed) == 2


async def test_a_snapshot_that_is_gone_is_made_again(open_session: OpenSession) -> None:
    async with open_session() as session:
        (name,) = (await session.solver.result(a_file())).layers
        place = session.store.snapshots.path(name).parent
    lose(place)
    async with open_session() as session:
        assert await session.read(a_file(), "/a") == b"x"
        assert session.completed_steps() == ["withNewFile /a"]


async def test_those_who_wait_go_on_when_one_gives_up(open_session: OpenSession) -> None:
    got = []
    async with open_session() as session:

        async def patient() -> None:
            got.append(await session.solver.result(a_file()))

        async with anyio.create_task_group() as group:
            group.start_soon(patient)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await session.solver.result(a_file())
        assert len(got) == 1


async def test_two_sessions_make_a_step_once(open_session: OpenSession) -> None:
    op = a_file(data=b"y" * 1_000_000)
    async with open_session() as one, open_session() as two:
        async with anyio.create_task_group() as group:
            group.start_soon(one.solver.result, op)
            group.start_soon(two.solver.result, op)
        assert one.completed_steps() + two.completed_steps() == ["withNewFile /a"]
        rows = dict(one.store.index.scan("result"))
        assert op.key in rows


async def test_a_deep_chain_is_evaluated_and_flattened(open_session: OpenSession) -> None:
    op: ops.Op = ops.Scratch()
    for number in range(300):
        op = a_file(f"/{number}", str(number).encode(), base=op)
    async with open_session() as session:
        assert await session.read(op, "/0") == b"0"
        assert await session.read(op, "/299") == b"299"
        assert len((await session.solver.result(op)).layers) < 130


async def test_copies_hold_what_was_selected(open_session: OpenSession) -> None:
    source = a_file("/d/keep.py", base=a_file("/d/drop.log"))
    copy = ops.CopyDirectory(
        base=ops.Scratch(), path="/to", source=source, source_path="/d", exclude=("*.log",)
    )
    async with open_session() as session:
        tree = session.store.tree((await session.solver.result(copy)).layers)
        assert [entry.path for entry in tree.walk()] == ["/to", "/to/keep.py"]


async def test_a_copy_of_a_missing_path_is_refused(open_session: OpenSession) -> None:
    copy = ops.CopyFile(
        base=ops.Scratch(), path="/to", source=ops.Scratch(), source_path="/no", name="no"
    )
    async with open_session() as session:
        with pytest.raises(PathNotFound, match="no such file or directory"):
            await session.solver.result(copy)


async def test_wildcards_remove_files_of_one_directory(open_session: OpenSession) -> None:
    base = a_file("/d/x.txt", base=a_file("/b.txt", base=a_file("/a.txt", base=a_file("/c.md"))))
    async with open_session() as session:
        op = ops.Remove(base=base, paths=("*.txt", "nope"))
        tree = session.store.tree((await session.solver.result(op)).layers)
        assert [entry.path for entry in tree.walk()] == ["/c.md", "/d", "/d/x.txt"]


async def test_owners_are_looked_up_in_the_tree(open_session: OpenSession) -> None:
    passwd = a_file("/etc/passwd", b"web:x:12:34::/:/bin/sh\n")
    group = a_file("/etc/group", b"staff:x:50:\n", base=passwd)
    op = ops.NewFile(base=group, path="/f", data=b"", owner="web:staff")
    async with open_session() as session:
        tree = session.store.tree((await session.solver.result(op)).layers)
        stat = tree.lookup("/f").stat
        assert (stat.st_uid, stat.st_gid) == (12, 50)
