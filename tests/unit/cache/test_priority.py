"""Threads that send hold Python's lock, so they have the priority of those that wait for it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from tests.unit.cache.test_shared_calls import call

if TYPE_CHECKING:
    from tests.unit.cache.conftest import Machine

pytestmark = pytest.mark.usefixtures("overlay")
BOUND = 60.0


async def test_threads_that_send_have_the_priority_of_the_session(
    machines: tuple[Machine, Machine],
) -> None:
    first, _ = machines
    sealing = threading.Event()
    seen: set[int] = set()
    async with first.session() as session:
        shared = session.solver.context.shared
        assert shared is not None
        assert shared.sender is not None
        seal = shared.sender.seal

        def look(payload: bytes) -> bytes:
            seen.add(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            sealing.set()
            return seal(payload)

        shared.sender.seal = look
        await call(session, "passed", {})
        assert sealing.wait(BOUND)
    assert seen == {os.getpriority(os.PRIO_PROCESS, 0)}
