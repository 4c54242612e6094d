"""How often machines that want the same step at once run it, and what a lease costs one alone.

    .venv/bin/python -m benchmarks.leases [rounds] [killed] [cost] [--clients N] [--rounds N]

Debian's docker-registry runs on loopback. `rounds`: clients with stores of their own ask for one
key at the same time. `killed`: the same, and whose container has started first is killed in the
middle. `cost`: a chain of execs of one machine with leases and without, in turns.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

import anyio

from layerline import command
from layerline.engine.api.session import open_session
from layerline.log import Journal
from tests.registry import serving
from tests.unit.cache.conftest import HOST, Machine
from tests.unit.cache.lease_client import clients, first_to_start
from tests.unit.conftest import ask

_SECONDS = 2.0  # of the step
_VALID = 15.0
_CHAIN = 20
_LIMIT = 300.0


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="Measure leases.")
    parser.add_argument("cases", nargs="*", default=["rounds", "killed", "cost"])
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="layerline-benchmark-") as name:
        place = Path(name)
        rootfs = _rootfs(place)
        (place / "registry").mkdir()
        with serving(place / "registry") as address:
            for case in given.cases:
                if case == "cost":
                    anyio.run(_measure_cost, place, address, rootfs, given.rounds)
                else:
                    _measure_rounds(place / case, f"{address}/{case}", rootfs, given)


def _measure_rounds(place: Path, cache: str, rootfs: Path, given: argparse.Namespace) -> None:
    is_killed = place.name == "killed"
    total: Counter[str] = Counter()
    for number in range(given.rounds):
        began = time.monotonic()
        there = place / str(number)
        with clients(
            there,
            f"{cache}/{number}",
            rootfs,
            f"{place.name}-{number}",
            number=given.clients,
            seconds=_SECONDS,
            valid=_VALID,
        ) as running:
            victims = [first_to_start(running, _LIMIT)] if is_killed else []
            for victim in victims:
                time.sleep(_SECONDS / 2)
                victim.process.kill()
                victim.process.wait()
            ended = [client.wait() for client in running if client not in victims]
            said = [line for client in running for line in client.said()]
        seconds = time.monotonic() - began
        counted = Counter(line.partition(" ")[0] for line in said)
        results = {line for lines in ended for line in lines if line.startswith("has ")}
        total.update(started=counted["started"], done=counted["done"])
        print(
            f"{place.name} {number}: {counted['started']} started, {counted['done']} completed, "
            f"{len(results)} results, {counted['said']} warnings, {seconds:.1f} s, "
            f"load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
        _remove(there)
    means = {name: total[name] / given.rounds for name in ("started", "done")}
    print(
        f"{place.name}: {given.clients} clients, {given.rounds} rounds: "
        f"{means['started']:.2f} started, {means['done']:.2f} completed a round"
    )


async def _measure_cost(place: Path, address: str, rootfs: Path, rounds: int) -> None:
    times: dict[str, list[float]] = {"leases": [], "no leases": []}
    processor: dict[str, list[float]] = {"leases": [], "no leases": []}
    for number in range(rounds):
        for name in sorted(times, reverse=number % 2 == 1):
            home = place / f"cost-{number}-{name.replace(' ', '-')}"
            home.mkdir()
            cache = f"{address}/{home.name}"
            machine = Machine(home=home, cache=cache, mode="read,write")
            journal = Journal()
            async with open_session(machine.settings(), journal, workdir=home) as session:
                shared = session.solver.context.shared
                assert shared is not None
                if name == "no leases":
                    shared.leases = None
                found = await ask(session, HOST, path=str(rootfs))
                root = found["host"]["directory"]["id"]
                began, own = time.monotonic(), time.process_time()
                await ask(session, _chain(home.name), root=root)
                times[name].append((time.monotonic() - began) / _CHAIN * 1000)
                processor[name].append((time.process_time() - own) / _CHAIN * 1000)
            _remove(home)
    for name, each in times.items():
        own = statistics.median(processor[name])
        print(
            f"{name}: {statistics.median(each):.1f} ms an exec, best {min(each):.1f}; "
            f"of the processor's time {own:.1f} ms"
        )
    more = statistics.median(times["leases"]) - statistics.median(times["no leases"])
    print(f"a lease: {more:.1f} ms an exec in a chain of {_CHAIN}; load {os.getloadavg()[0]:.1f}")


def _chain(name: str) -> str:
    steps = "".join(f'withExec(args: ["echo", "{name}-{number}"]) {{ ' for number in range(_CHAIN))
    return (
        "query ($root: ID!) { container { withRootfs(directory: $root) { "
        + steps
        + "exitCode"
        + " }" * (_CHAIN + 3)
    )


def _rootfs(place: Path) -> Path:
    busybox = command.require("busybox", package="busybox-static")
    root = place / "rootfs"
    for name in ("bin", "etc", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy(busybox, root / "bin/busybox")
    for applet in ("sh", "cat", "echo", "sleep"):
        (root / "bin" / applet).symlink_to("busybox")
    return root


def _remove(place: Path) -> None:
    """Remove what clients have left; who was killed has left mounts."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    for mounted in sorted((line.split(" ")[1] for line in lines), reverse=True):
        if Path(mounted).is_relative_to(place):
            command.run(["umount", "--lazy", mounted])
    shutil.rmtree(place)


if __name__ == "__main__":
    main()
