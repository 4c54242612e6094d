"""Each key is evaluated once, in this session and the next; failures are not remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from layerline.engine.solve import ops
from layerline.errors import IsADirectory, PathNotFound
from layerline.log import Status

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.solve.conftest import OpenShop


def a_file(name: str = "/a", data: bytes = b"x", base: ops.Op | None = None) -> ops.NewFile:
    return ops.NewFile(base=base or ops.Scratch(), path=name, data=data)


def lose(place: Path) -> None:
    place.rename(place.with_name("gone"))


async def test_a_step_is_made_once_however_many_ask(open_shop: OpenShop) -> None:
    async with open_shop() as shop:
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(shop.solver.result, a_file())
        assert shop.completed_steps().count("withNewFile /a") == 1


async def test_a_step_is_not_made_again_by_a_later_session(open_shop: OpenShop) -> None:
    async with open_shop() as shop:
        await shop.solver.result(a_file())
    async with open_shop() as shop:
        assert await shop.read(a_file(), "/a") == b"x"
        assert shop.completed_steps() == []
        assert [e.status for e in shop.events if e.status] == [Status.CACHED]


async def test_only_the_steps_after_a_change_are_made(open_shop: OpenShop) -> None:
    async with open_shop() as shop:
        await shop.solver.result(a_file("/b", base=a_file()))
    async with open_shop() as shop:
        await shop.solver.result(a_file("/c", base=a_file()))
        assert shop.completed_steps() == ["withNewFile /c"]


async def test_a_failure_is_told_to_everybody_and_tried_again(open_shop: OpenShop) -> None:
    directory = ops.NewDirectory(base=ops.Scratch(), path="/d")
    wrong = ops.NewFile(base=directory, path="/d", data=b"", keep_mode=True)
    async with open_shop() as shop:
        for _ in range(2):
            with pytest.raises(IsADirectory):
                await shop.solver.result(wrong)
        failed = [event for event in shop.events if event.status is Status.ERROR]
        assert len(failed) == 2


async def test_a_snapshot_that_is_gone_is_made_again(open_shop: OpenShop) -> None:
    async with open_shop() as shop:
        (name,) = (await shop.solver.result(a_file())).layers
        place = shop.store.snapshots.path(name).parent
    lose(place)
    async with open_shop() as shop:
        assert await shop.read(a_file(), "/a") == b"x"
        assert shop.completed_steps() == ["withNewFile /a"]


async def test_those_who_wait_go_on_when_one_gives_up(open_shop: OpenShop) -> None:
    got = []
    async with open_shop() as shop:

        async def patient() -> None:
            got.append(await shop.solver.result(a_file()))

        async with anyio.create_task_group() as group:
            group.start_soon(patient)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await shop.solver.result(a_file())
        assert len(got) == 1


async def test_two_sessions_make_a_step_once(open_shop: OpenShop) -> None:
    op = a_file(data=b"y" * 1_000_000)
    async with open_shop() as one, open_shop() as two:
        async with anyio.create_task_group() as group:
            group.start_soon(one.solver.result, op)
            group.start_soon(two.solver.result, op)
        assert one.completed_steps() + two.completed_steps() == ["withNewFile /a"]
        rows = dict(one.store.index.scan("result"))
        assert op.key in rows


async def test_a_deep_chain_is_evaluated_and_flattened(open_shop: OpenShop) -> None:
    op: ops.Op = ops.Scratch()
    for number in range(300):
        op = a_file(f"/{number}", str(number).encode(), base=op)
    async with open_shop() as shop:
        assert await shop.read(op, "/0") == b"0"
        assert await shop.read(op, "/299") == b"299"
        assert len((await shop.solver.result(op)).layers) < 130


async def test_copies_hold_what_was_selected(open_shop: OpenShop) -> None:
    source = a_file("/d/keep.py", base=a_file("/d/drop.log"))
    copy = ops.CopyDirectory(
        base=ops.Scratch(), path="/to", source=source, source_path="/d", exclude=("*.log",)
    )
    async with open_shop() as shop:
        tree = shop.store.tree((await shop.solver.result(copy)).layers)
        assert [entry.path for entry in tree.walk()] == ["/to", "/to/keep.py"]


async def test_a_copy_of_what_is_not_there_says_so(open_shop: OpenShop) -> None:
    copy = ops.CopyFile(
        base=ops.Scratch(), path="/to", source=ops.Scratch(), source_path="/no", name="no"
    )
    async with open_shop() as shop:
        with pytest.raises(PathNotFound, match="no such file or directory"):
            await shop.solver.result(copy)


async def test_wildcards_remove_files_of_one_directory(open_shop: OpenShop) -> None:
    base = a_file("/d/x.txt", base=a_file("/b.txt", base=a_file("/a.txt", base=a_file("/c.md"))))
    async with open_shop() as shop:
        op = ops.Remove(base=base, paths=("*.txt", "nope"))
        tree = shop.store.tree((await shop.solver.result(op)).layers)
        assert [entry.path for entry in tree.walk()] == ["/c.md", "/d", "/d/x.txt"]


async def test_owners_are_looked_up_in_the_tree(open_shop: OpenShop) -> None:
    passwd = a_file("/etc/passwd", b"web:x:12:34::/:/bin/sh\n")
    group = a_file("/etc/group", b"staff:x:50:\n", base=passwd)
    op = ops.NewFile(base=group, path="/f", data=b"", owner="web:staff")
    async with open_shop() as shop:
        tree = shop.store.tree((await shop.solver.result(op)).layers)
        stat = tree.lookup("/f").stat
        assert (stat.st_uid, stat.st_gid) == (12, 50)
