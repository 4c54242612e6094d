"""A function is not called again for directories and files of equal content."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from layerline.engine.api.objects import Directory, File
from layerline.engine.module.call_cache import CallCache
from layerline.engine.solve import ops

if TYPE_CHECKING:
    from layerline.engine.api.session import Session
    from layerline.engine.module.definitions import Json
    from tests.unit.conftest import OpenSession


def tree(other: str, same: str = "same") -> ops.Op:
    """A directory with `/d/a`, and something next to it."""
    inner = ops.NewFile(base=ops.Scratch(), path="/d/a", data=same.encode())
    return ops.NewFile(base=inner, path="/other", data=other.encode())


def made_by_exec(other: str) -> ops.Op:
    return ops.ExecRootfs(exec=ops.Exec(rootfs=tree(other), argv=("true",)))


@dataclass(kw_only=True)
class Calls:
    """The calls of a function that were made."""

    session: Session
    seconds: float = 60
    made: list[Json] = field(default_factory=list)
    hits: int = 0

    async def call(self, *values: Directory | File) -> Json:
        """The result for objects as its arguments."""
        cache = CallCache(
            session=self.session,
            module="m",
            owner="O",
            function="f",
            seconds=self.seconds,
            run=self._run,
            report_hit=self._hit,
        )
        ids: list[Json] = [self.session.identify(value) for value in values]
        return await cache.get(None, {"values": ids})

    async def _run(self, _parent: Json, arguments: dict[str, Json]) -> Json:
        self.made.append(arguments)
        return len(self.made)

    def _hit(self) -> None:
        self.hits += 1


async def test_what_is_next_to_an_argument_does_not_count(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        calls = Calls(session=session)
        for kind, path in ((Directory, "/d"), (File, "/d/a")):
            made = len(calls.made)
            one = await calls.call(kind(tree=tree("1"), path=path))
            assert await calls.call(kind(tree=tree("2"), path=path)) == one
            assert await calls.call(kind(tree=tree("1", "else"), path=path)) != one
            assert len(calls.made) == made + 2


async def test_a_later_session_finds_it_by_both(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        await Calls(session=session).call(Directory(tree=tree("1"), path="/d"))
    for _ in range(2):
        async with open_a_session() as session:
            calls = Calls(session=session)
            assert await calls.call(Directory(tree=tree("2"), path="/d")) == 1
            assert (calls.made, calls.hits) == ([], 1)


async def test_the_name_of_an_argument_counts(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        calls = Calls(session=session)
        for name in ("/a", "/b"):
            file = ops.NewFile(base=ops.Scratch(), path=name, data=b"x")
            await calls.call(File(tree=file, path=name))
        assert len(calls.made) == 2


async def test_a_call_waits_for_no_process_and_no_missing_path(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        calls = Calls(session=session, seconds=0)
        for other in ("1", "2"):
            await calls.call(Directory(tree=made_by_exec(other), path="/d"))
            await calls.call(Directory(tree=tree(other), path="/none"))
        assert len(calls.made) == 4
