"""Starts the image's command several times, each time until its health check passes.

    cold_start.py REQUEST       such as {"command": [...], "healthcheck": [...], "starts": 5, ...}

Prints milliseconds and megabytes (10^6 bytes) as JSON; a budget that is exceeded is an error. The
time is from the start of the command until the first check that passes has ended; checks follow
each other. The memory is that of the command and all its children then: their proportional set size
(proc_pid_smaps(5)), in which a page that several share is counted once. Each start has new
processes. The files are not read from the disk again: `read_mb` says how much was.
"""

import contextlib
import ctypes
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from typing import IO, Any

MEGABYTE = 10**6
PAUSE_SECONDS = 0.01
LONGEST_CHECK_SECONDS = 30.0
LONGEST_END_SECONDS = 10.0
LEAST_SECONDS = 120.0
# A service that takes this many times its budget is not waited for.
PATIENCE = 10
MOST_LOG = 4000
SUBREAPER = 36
UNITS = {"cold_start_ms": "ms", "memory_mb": "MB"}
WAYS = {
    "cold_start_ms": "import what is large once it is needed, add bytecode = true",
    "memory_mb": "import less, start fewer workers",
}


def main(request: dict[str, Any]) -> None:
    """Measure all starts and compare their medians with the budgets."""
    adopt_orphans()
    budgets = {key: request[key] for key in UNITS if request[key] is not None}
    patience = max(LEAST_SECONDS, PATIENCE * budgets.get("cold_start_ms", 0) / 1000)
    starts = [measure(request, patience) for _ in range(request["starts"])]
    found = {key: round(statistics.median(each[key] for each in starts)) for key in UNITS}
    wrong = [
        f"{key} of {request['image']} is {found[key]} {UNITS[key]} (median of "
        f"{', '.join(str(each[key]) for each in starts)}), its budget is {budget} {UNITS[key]}: "
        f"{WAYS[key]}, or raise {key}"
        for key, budget in budgets.items()
        if found[key] > budget
    ]
    if wrong:
        sys.exit("\n".join(wrong))
    print(json.dumps({**found, "starts": starts, "processors": len(os.sched_getaffinity(0))}))


def measure(request: dict[str, Any], patience: float) -> dict[str, float]:
    """One start, from nothing to nothing."""
    environ = {**os.environ, "TINI_SUBREAPER": "1"}  # tini is not process 1 here
    with tempfile.TemporaryFile() as log:
        began = time.monotonic()
        process = subprocess.Popen(
            request["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environ,
        )
        try:
            check_seconds = wait(process, request["healthcheck"], began + patience, log)
            seconds = time.monotonic() - began
            family = children(str(os.getpid()))
            return {
                "cold_start_ms": round(seconds * 1000),
                "memory_mb": round(sum(map(memory, family)) / MEGABYTE),
                "check_ms": round(check_seconds * 1000),
                "read_mb": round(sum(map(bytes_read, family)) / MEGABYTE, 1),
            }
        finally:
            end(process)


def wait(
    process: "subprocess.Popen[bytes]", check: list[str], deadline: float, log: IO[bytes]
) -> float:
    """Wait until a check passes; the seconds that it took."""
    while True:
        asked = time.monotonic()
        if is_healthy(check):
            return time.monotonic() - asked
        if process.poll() is not None:
            fail(f"it ended with status {process.returncode} before it was healthy", log)
        if time.monotonic() > deadline:
            fail("it was not healthy in time; the check is " + " ".join(check), log)
        time.sleep(PAUSE_SECONDS)


def is_healthy(check: list[str]) -> bool:
    nothing = subprocess.DEVNULL
    try:
        done = subprocess.run(
            check,
            stdin=nothing,
            stdout=nothing,
            stderr=nothing,
            timeout=LONGEST_CHECK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def fail(message: str, log: IO[bytes]) -> None:
    """End with the last that the command said."""
    log.seek(0)
    said = log.read().decode(errors="replace")[-MOST_LOG:]
    sys.exit(f"{said}\nthe image's command was started and {message}".strip())


def children(parent: str) -> list[str]:
    """The ids of a process's children, and of theirs."""
    parents = {}
    for place in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            parents[place.name] = (place / "stat").read_text().rpartition(")")[2].split()[1]
    found: list[str] = []
    fresh = {parent}
    while fresh := {name for name, above in parents.items() if above in fresh}:
        found += fresh
    return found


def memory(process: str) -> int:
    """Bytes of a process, its share of common pages included."""
    lines = read(process, "smaps_rollup").splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def bytes_read(process: str) -> int:
    """Bytes that a process and its ended children had fetched from the disk (proc_pid_io(5))."""
    _, _, rest = read(process, "io").partition("\nread_bytes:")
    return int(rest.split()[0]) if rest else 0


def read(process: str, name: str) -> str:
    """A file of a process; empty once it has ended."""
    try:
        return pathlib.Path(f"/proc/{process}/{name}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    except PermissionError as exc:
        sys.exit(f"a process of the image cannot be measured, as it runs as another user: {exc}")


def end(process: "subprocess.Popen[bytes]") -> None:
    """End the command as a container engine does, then all that is left."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(LONGEST_END_SECONDS)
    for each in children(str(os.getpid())):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(each), signal.SIGKILL)
    process.wait()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def adopt_orphans() -> None:
    """Become the parent of processes whose parent ends (PR_SET_CHILD_SUBREAPER(2const))."""
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
