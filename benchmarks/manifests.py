"""What the manifests of snapshots cost a first build: builds with and without them take turns.

    .venv/bin/python -m benchmarks.manifests [--rounds N]

Each build has an empty store. It fetches `debian:bookworm-slim` and runs one step that copies its
programs and libraries and compresses a part of them, as an installation would. Without manifests is
the same command, in which the thread that writes them gets nothing to do. Time of the processor
counts what waits for nothing; on a busy machine it is the figure to look at.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import BASE, ROOT
from layerline import command
from layerline.settings import process_environ

if TYPE_CHECKING:
    from collections.abc import Mapping

STEP = "cp -a /usr /copy && tar -C /copy -cz share lib/x86_64-linux-gnu > /archive"
BUILD = ("core", "--silent", "container", "from", f"--address={BASE}", "with-exec")
WITHOUT = """
import sys
from layerline.cli.main import main
from layerline.engine.store.manifest_writer import ManifestWriter
ManifestWriter.add = ManifestWriter.start = lambda *_: None
sys.argv[0] = "layerline"
main()
"""


def build(environ: Mapping[str, str], *, manifests: bool) -> tuple[float, float]:
    """The seconds of a first build: of the clock, and of the processor for all its processes."""
    with tempfile.TemporaryDirectory(prefix="layerline-benchmark-") as name:
        own = {"LAYERLINE_STORE": str(Path(name, "store")), "PYTHONPATH": str(ROOT / "src")}
        program = ["-m", "layerline"] if manifests else ["-c", WITHOUT]
        argv = [sys.executable, *program, *BUILD, f"--args=sh,-c,{STEP}", "sync"]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        command.run(argv, env={**environ, **own})
        seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        written = len(list(Path(name, "store/snapshots").glob("*/manifest")))
        if manifests != (written > 0):
            message = f"{written} manifests were written"
            raise SystemExit(message)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, used


def main() -> None:
    """Print the medians, and what manifests add to them."""
    parser = argparse.ArgumentParser(description="Measure what manifests cost a first build.")
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    build(process_environ(), manifests=True)  # caches of the disk
    times: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
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


if __name__ == "__main__":
    main()
