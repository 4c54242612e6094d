"""What a function has returned on one machine is not computed on another."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from layerline.engine.module.call_cache import CallCache
from tests.unit.cache.conftest import HOST
from tests.unit.conftest import ask

if TYPE_CHECKING:
    from layerline.engine.api.session import Session
    from layerline.engine.module.definitions import Json
    from tests.unit.cache.conftest import Machine

pytestmark = [pytest.mark.usefixtures("overlay")]


async def call(session: Session, value: Json, arguments: dict[str, Json]) -> tuple[Json, int]:
    """What `Sample.made` returns, and how often it ran."""
    runs: list[None] = []

    async def run(_parent: Json, _arguments: dict[str, Any]) -> Json:
        runs.append(None)
        return value

    cache = CallCache(
        session=session,
        module="0" * 64,
        owner="Sample",
        function="made",
        seconds=3600.0,
        run=run,
        report_hit=lambda: None,
    )
    return await cache.get({}, arguments), len(runs)


async def test_a_value_is_known_to_another_machine(machines: tuple[Machine, Machine]) -> None:
    first, second = machines
    async with first.session() as session:
        assert await call(session, "passed", {"name": "x"}) == ("passed", 1)
    async with second.session() as session:
        assert await call(session, "not this", {"name": "x"}) == ("passed", 0)
        assert await call(session, "other", {"name": "y"}) == ("other", 1)


async def test_directories_of_the_host_count_by_their_content(
    machines: tuple[Machine, Machine],
) -> None:
    first, second = machines
    for machine in machines:
        machine.add_source("same")
    async with first.session() as session:
        found = await ask(session, HOST, path=str(first.home / "src"))
        await call(session, "passed", {"source": found["host"]["directory"]["id"]})
    async with second.session() as session:
        found = await ask(session, HOST, path=str(second.home / "src"))
        source = found["host"]["directory"]["id"]
        assert await call(session, "not this", {"source": source}) == ("passed", 0)
        # A value that names a directory of the host is taken where that directory exists.
        assert (await call(session, source, {"source": source, "n": "2"}))[1] == 1


async def test_a_private_function_is_not_shared(machines: tuple[Machine, Machine]) -> None:
    first, second = machines
    first.configure('[cache]\nprivate = ["Sample.made"]\n')
    async with first.session() as session:
        await call(session, "passed", {})
    async with second.session() as session:
        assert await call(session, "ran here", {}) == ("ran here", 1)


async def test_a_value_that_holds_a_secret_is_not_sent(machines: tuple[Machine, Machine]) -> None:
    first, second = machines
    async with first.session() as session:
        session.journal.masks.add(b"hidden-token")
        await call(session, "it is hidden-token", {})
    async with second.session() as session:
        assert (await call(session, "ran here", {}))[1] == 1


@pytest.mark.parametrize(("calls", "said"), [(1, "1 result"), (5, "5 results")])
async def test_what_is_not_sent_is_dropped_on_request(
    machines: tuple[Machine, Machine], calls: int, said: str
) -> None:
    hasty = replace(machines[0], environ={"LAYERLINE_CACHE_WAIT": "false"})
    slow = threading.Event()

    def seal(payload: bytes) -> bytes:
        slow.wait()
        return payload

    async with hasty.session() as session:
        shared = session.solver.context.shared
        assert shared is not None
        assert shared.sender is not None
        shared.sender.seal = seal
        for number in range(calls):
            await call(session, "passed", {"number": number})
    slow.set()
    dropped = [name for name in hasty.steps() if "not sent" in name]
    assert dropped == [f"cache: not sent, as asked: {said}"]
