"""A session that is killed leaves no directory of cgroups, and no process that removes them."""

from __future__ import annotations

import functools
import re
import signal
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline.engine.runtime.hierarchies import find_hierarchies
from tests.concurrency.test_endings import end, running, sleeper, until

if TYPE_CHECKING:
    from tests.conftest import CommandLine

pytestmark = pytest.mark.privileged

ROUNDS = 5
SOON = 3.0


def group_of(process: int) -> str:
    """The session in whose cgroup a process runs."""
    found = re.search(r"/layerline/(\w+)/", Path(f"/proc/{process}/cgroup").read_text())
    assert found is not None
    return found[1]


def is_group_gone(session: str) -> bool:
    """Whether a session has no directory in any hierarchy."""
    return not any((each.place / "layerline" / session).exists() for each in find_hierarchies())


def waiting(store: str) -> list[int]:
    """The processes with this store in their environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if store.encode() in (place / "environ").read_bytes():
                found.append(int(place.name))
        except OSError:
            continue
    return found


@pytest.mark.usefixtures("writable_cgroups")
def test_no_group_stays_after_a_kill(command_line: CommandLine) -> None:
    command_line.run(*sleeper("x")[:4], "sync")
    store = command_line.environ["LAYERLINE_STORE"]
    for _ in range(ROUNDS):
        mark = uuid.uuid4().hex
        process = command_line.start(*sleeper(mark))
        try:
            until(functools.partial(running, mark), 60)
            session = group_of(running(mark)[0])
            assert not is_group_gone(session)
            process.send_signal(signal.SIGKILL)
            process.wait()
            until(functools.partial(is_group_gone, session), SOON)
            until(lambda: not waiting(store), SOON)
        finally:
            end(process)


def test_a_call_that_ends_well_does_not_wait_for_it(command_line: CommandLine) -> None:
    command_line.run(*sleeper("x")[:4], "sync")
    store = command_line.environ["LAYERLINE_STORE"]
    until(lambda: not waiting(store), SOON)
    began = time.monotonic()
    command_line.run("core", "version")
    assert time.monotonic() - began < 10
    until(lambda: not waiting(store), SOON)
