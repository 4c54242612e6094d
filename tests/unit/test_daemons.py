"""A test run that is killed leaves no server behind."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from layerline import command

HOME = Path(__file__).parents[2]
RUN = """
import sys, time
from pathlib import Path
from tests.daemons import running
with running(["sleep", sys.argv[2]], log=Path(sys.argv[1], "log")):
    print("running", flush=True)
    time.sleep(60)
"""
MARK = "61.4142"


def sleepers() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            argv = path.read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        if argv[:2] == [b"sleep", MARK.encode()]:
            found.append(path.parent.name)
    return found


def test_a_server_ends_with_a_run_that_is_killed(tmp_path: Path) -> None:
    process = command.start(
        [sys.executable, "-c", RUN, tmp_path, MARK],
        env={"PYTHONPATH": f"{HOME}:{HOME / 'src'}"},
        stdout=command.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"running\n"
    deadline = time.monotonic() + 10
    while not sleepers():
        assert time.monotonic() < deadline
    process.kill()
    process.wait()
    process.stdout.close()
    while sleepers():
        assert time.monotonic() < deadline, "the server outlived the run"
        time.sleep(0.05)
