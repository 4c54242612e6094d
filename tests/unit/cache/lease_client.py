"""A machine as a process: it runs one step, and says on stdout what becomes of it.

    python -m tests.unit.cache.lease_client HOME CACHE ROOTFS KEY SECONDS VALID

It writes `started` when its container has written something, `done` when that has ended well, and
at the end `has RESULT`. VALID is how long its leases are valid, in seconds.
"""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from layerline import command
from layerline.engine.api.session import open_session
from layerline.log import Event, Journal
from tests.unit.cache.conftest import HOST, Machine
from tests.unit.conftest import ask

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP = """query ($root: ID!, $script: String!) { container { withRootfs(directory: $root) {
  withExec(args: ["sh", "-c", $script]) { file(path: "/made") { contents } }
} } }"""
SCRIPT = "echo %s; sleep %s; cat /proc/sys/kernel/random/uuid > /made"
_POLL_SECONDS = 0.02


def main(argv: list[str]) -> None:
    home, cache, rootfs, key, seconds, valid = argv
    machine = Machine(home=Path(home), cache=cache, mode="read,write")
    anyio.run(_run, machine, Path(rootfs), SCRIPT % (key, seconds), float(valid))


async def _run(machine: Machine, rootfs: Path, script: str, valid: float) -> None:
    journal = Journal(listeners=[_say])
    async with open_session(machine.settings(), journal, workdir=machine.home) as session:
        shared = session.solver.context.shared
        assert shared is not None
        assert shared.leases is not None
        shared.leases.timing = replace(
            shared.leases.timing, valid=valid, check=min(0.75, valid / 4)
        )
        found = await ask(session, HOST, path=str(rootfs))
        root = found["host"]["directory"]["id"]
        made = await ask(session, STEP, root=root, script=script)
    text = made["container"]["withRootfs"]["withExec"]["file"]["contents"]
    print(f"has {text.strip()}", flush=True)


def _say(event: Event) -> None:
    if event.name.startswith("cache: wait for another machine"):
        if event.status is None:
            print("waiting", flush=True)
    elif not event.name.startswith("withExec"):
        if event.status is not None and event.status.value == "CANCELED":
            print(f"said {event.name}", flush=True)
    elif event.output:
        print("started", flush=True)
    elif event.status is not None and event.status.value == "DONE":
        print("done", flush=True)


@dataclass(kw_only=True)
class Client:
    """A running client."""

    process: command.Process[bytes]
    output: Path

    def said(self) -> list[str]:
        return self.output.read_text().splitlines()

    def wait(self) -> list[str]:
        """What it has said until its end, which has to be a good one."""
        status = self.process.wait()
        assert status == 0, self.output.with_suffix(".log").read_text()
        return self.said()


@contextlib.contextmanager
def clients(
    place: Path, cache: str, rootfs: Path, key: str, *, number: int, seconds: float, valid: float
) -> Iterator[list[Client]]:
    """Several machines that want the same key at once; those that are left are killed."""
    running: list[Client] = []
    try:
        for index in range(number):
            home = place / f"client-{index}"
            home.mkdir(parents=True)
            own = [str(each) for each in (home, cache, rootfs, key, seconds, valid)]
            argv = [sys.executable, "-m", "tests.unit.cache.lease_client", *own]
            output = place / f"client-{index}.out"
            with output.open("wb") as out, output.with_suffix(".log").open("wb") as log:
                process = command.start(argv, stdout=out, stderr=log)
            running.append(Client(process=process, output=output))
        yield running
    finally:
        for client in running:
            client.process.kill()
            client.process.wait()


def first_to_start(running: list[Client], limit: float) -> Client:
    """The client whose container started first."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        for client in running:
            if "started" in client.said():
                return client
        time.sleep(_POLL_SECONDS)
    message = f"no client started its container within {limit} s"
    raise AssertionError(message)


if __name__ == "__main__":
    main(sys.argv[1:])
