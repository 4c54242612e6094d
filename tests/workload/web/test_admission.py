"""Who is let in, who waits, and who is sent away."""

import anyio
import pytest

from ct_scan_mlops.web.admission import Admission, Capacity
from ct_scan_mlops.web.problems import Overloaded


def admission(**bounds: float) -> Admission:
    values = {"upload_bytes": 100, "places": 2, "waiting": 1, "wait_seconds": 0.1} | bounds
    return Admission(capacity=Capacity(**values))  # type: ignore[arg-type]


async def hold(taken: Admission, size: int, release: anyio.Event) -> None:
    async with taken.place(size):
        await release.wait()


def test_places_and_bytes_are_given_back() -> None:
    async def run() -> None:
        taken = admission()
        for _ in range(10):
            async with taken.place(100):
                assert (taken.admitted, taken.reserved) == (1, 100)
        assert (taken.admitted, taken.reserved, taken.waiting) == (0, 0, 0)

    anyio.run(run)


@pytest.mark.parametrize("held", [[10, 10], [95]])
def test_the_next_waits_for_a_place_or_for_memory(held: list[int]) -> None:
    async def run() -> None:
        taken = admission(wait_seconds=5)
        release = anyio.Event()
        async with anyio.create_task_group() as tasks:
            for size in held:
                tasks.start_soon(hold, taken, size, release)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(hold, taken, 10, release)
            await anyio.wait_all_tasks_blocked()
            assert (taken.waiting, taken.admitted) == (1, len(held))
            with pytest.raises(Overloaded):
                async with taken.place(10):
                    pass
            release.set()
        assert (taken.admitted, taken.reserved, taken.waiting) == (0, 0, 0)

    anyio.run(run)


def test_waiting_has_an_end() -> None:
    async def run() -> None:
        taken = admission()
        async with taken.place(100):
            with pytest.raises(Overloaded):
                async with taken.place(1):
                    pass
            assert taken.waiting == 0

    anyio.run(run)


def test_one_who_goes_away_leaves_nothing_behind() -> None:
    async def run() -> None:
        taken = admission(wait_seconds=5)
        release = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold, taken, 100, release)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(hold, taken, 100, release)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        assert (taken.admitted, taken.reserved, taken.waiting) == (0, 0, 0)

    anyio.run(run)
