"""What the manifests of snapshots cost a first build: builds with and without them take turns.

    .venv/bin/python -m benchmarks.manifests [--rounds N]

Each build has an empty store. It fetches `debian:bookworm-slim` and runs one step that copies its
programs and libraries and compresses a part of them, as an installation would. Without manifests is
the same command, in which the thread that writes them gets nothing to do. On a busy machine neither
the clock nor the processor's time compares two builds; two shares hardly change: the processor's
time of that thread alone, and the clock's time for which the end of the session waits for it.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.measure import BASE, ROOT
from layerline import command
from layerline.settings import process_environ

if TYPE_CHECKING:
    from collections.abc import Mapping

STEP = "cp -a /usr /copy && tar -C /copy -cz share lib/x86_64-linux-gnu > /archive"
BUILD = ("core", "--silent", "container", "from", f"--address={BASE}", "with-exec")
PROGRAM = """
import sys, time
from layerline.cli.main import main
from layerline.engine.store.manifest_writer import ManifestWriter

def write(*args, **named):
    began = time.thread_time()
    before(*args, **named)
    with open(times, "a") as file:
        file.write(f"{time.thread_time() - began} 0\\n")

def close(self):
    began = time.monotonic()
    end(self)
    with open(times, "a") as file:
        file.write(f"0 {time.monotonic() - began}\\n")

_, times, *sys.argv[1:] = sys.argv
sys.argv[0] = "layerline"
before, ManifestWriter.write = ManifestWriter.write, write
end, ManifestWriter.close = ManifestWriter.close, close
if times == "none":
    ManifestWriter.add = ManifestWriter.start = lambda *_: None
main()
"""


class Seconds(NamedTuple):
    """What a first build took; `own` processor time and `waiting` at its end are for manifests."""

    clock: float
    processor: float
    own: float
    waiting: float


def build(environ: Mapping[str, str], *, manifests: bool) -> Seconds:
    """Build once, with an empty store."""
    with tempfile.TemporaryDirectory(prefix="layerline-benchmark-") as name:
        own = {"LAYERLINE_STORE": str(Path(name, "store")), "PYTHONPATH": str(ROOT / "src")}
        times = Path(name, "times")
        program = ["-c", PROGRAM, str(times) if manifests else "none"]
        argv = [sys.executable, *program, *BUILD, f"--args=sh,-c,{STEP}", "sync"]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        command.run(argv, env={**environ, **own})
        seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        rows = times.read_text().splitlines() if manifests else []
        writing, waiting = (sum(float(row.split()[n]) for row in rows) for n in (0, 1))
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Seconds(seconds, used, writing, waiting)


def main() -> None:
    """Print the medians, and what manifests add to them."""
    parser = argparse.ArgumentParser(description="Measure what manifests cost a first build.")
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    build(process_environ(), manifests=True)  # caches of the disk
    times: dict[bool, list[Seconds]] = {False: [], True: []}
    for number in range(rounds):
        for manifests in (number % 2 == 0, number % 2 == 1):
            times[manifests].append(build(process_environ(), manifests=manifests))
    for index, what in enumerate(("clock", "processor")):
        without, with_them = (
            statistics.median(each[index] for each in times[manifests])
            for manifests in (False, True)
        )
        more = (with_them / without - 1) * 100
        print(f"{what}: {without:.2f} s without, {with_them:.2f} s with manifests: {more:+.1f} %")
    shares = [each.own / (each.processor - each.own) * 100 for each in times[True]]
    print(f"their thread: {statistics.median(shares):.1f} % of the rest of the build's processor")
    shares = [each.waiting / (each.clock - each.waiting) * 100 for each in times[True]]
    print(f"waiting for it at the end: {statistics.median(shares):.1f} % of the rest of the clock")


if __name__ == "__main__":
    main()
