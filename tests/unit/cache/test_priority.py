"""Threads that send have a low priority, until somebody waits for what they do."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.unit.cache.test_shared_calls import call

if TYPE_CHECKING:
    from tests.unit.cache.conftest import Machine

pytestmark = [pytest.mark.usefixtures("overlay", "machine_root")]
BOUND = 60.0


def niceness(thread: threading.Thread) -> int:
    assert thread.native_id is not None
    return os.getpriority(os.PRIO_PROCESS, thread.native_id)


async def test_who_waits_at_the_end_waits_for_threads_of_ordinary_priority(
    machines: tuple[Machine, Machine],
) -> None:
    first, _ = machines
    sealing, may_send = threading.Event(), threading.Event()
    seen: list[int] = []

    async with first.session() as session:
        shared = session.solver.context.shared
        assert shared is not None
        sender = shared.sender
        assert sender is not None
        seal = sender.seal

        def seal_later(payload: bytes) -> bytes:
            sealing.set()
            may_send.wait(BOUND)
            return seal(payload)

        def watch() -> None:
            """Look at the priority before the session ends, and while it waits."""
            sealing.wait(BOUND)
            (thread,) = sender._threads
            seen.append(niceness(thread))
            with sender.priority.awaited():
                seen.append(niceness(thread))
            seen.append(niceness(thread))
            waits.set()
            deadline = time.monotonic() + BOUND
            while niceness(thread) and time.monotonic() < deadline:
                time.sleep(0.02)
            seen.append(niceness(thread))
            may_send.set()

        waits = threading.Event()
        sender.seal = seal_later
        watching = threading.Thread(target=watch)
        watching.start()
        await call(session, "passed", {})
        assert waits.wait(BOUND)
    watching.join(BOUND)
    assert seen == [10, 0, 10, 0]
