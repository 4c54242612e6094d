"""A session's network ends with all of its processes, and with the session, however that ends."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from pathlib import Path

import pytest

from layerline import command
from layerline.engine.runtime.network import SessionNetwork
from layerline.settings import process_environ
from tests.conftest import SOURCE

pytestmark = pytest.mark.privileged

SOON = 10.0
# A session that has opened its network, and no container yet: by itself, or as a part of a test.
KILLED = """
import signal, sys
from pathlib import Path
from layerline import host, kernel
from layerline.engine.runtime.network import SessionNetwork
from layerline.engine.runtime.user_ids import same_ids

where, place = sys.argv[1:]
if where == "namespaces":
    host.enter_namespaces()
else:
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount("none", Path("/"), None, kernel.MS_REC | kernel.MS_PRIVATE)
with SessionNetwork.create(Path(place)) as network:
    with network.attach(), network.attach(same_ids()), network.lend():
        print("ready", flush=True)
        signal.pause()
"""


def test_what_holds_the_namespace_ends_with_pasta(tmp_path: Path) -> None:
    """It is the first process of a process namespace of its own, which outlives pasta."""
    others = set(descendants(os.getpid()))  # a registry, for other tests
    with SessionNetwork.create(tmp_path):
        below = set(descendants(os.getpid())) - others
    assert below
    deadline = time.monotonic() + SOON
    while (left := [each for each in below if Path(f"/proc/{each}").exists()]) != []:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


@pytest.mark.parametrize("where", ["namespaces", "process"])
def test_nothing_outlives_a_session_that_is_killed(tmp_path: Path, where: str) -> None:
    environ = {**process_environ(), "PYTHONPATH": str(SOURCE)}
    argv = [sys.executable, "-c", KILLED, where, str(tmp_path)]
    session = command.start(argv, env=environ, stdout=command.PIPE)
    assert session.stdout is not None
    assert session.stdout.readline() == b"ready\n"
    watched = {os.pidfd_open(each): command_line(each) for each in descendants(session.pid)}
    assert any("pasta" in each for each in watched.values())
    session.send_signal(signal.SIGKILL)
    session.communicate()
    deadline = time.monotonic() + SOON
    while watched and time.monotonic() < deadline:
        ended, _, _ = select.select(watched, [], [], 0.1)
        for each in ended:
            os.close(each)
            del watched[each]
    left = list(watched.values())
    for each in watched:
        signal.pidfd_send_signal(each, signal.SIGKILL)
        os.close(each)
    assert left == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def command_line(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")


def descendants(process: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found
