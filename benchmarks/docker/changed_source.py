"""What happens most: one source file has changed, and the image goes to where it is used.

    .venv/bin/python -m benchmarks.docker.changed_source --work=DIRECTORY [--image=train-cuda]

Layerline alone: built once, then for each way a source file is changed and one call is measured.
The ways take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.docker import bench
from benchmarks.docker.cases import Timing
from benchmarks.docker.repository import Repository
from benchmarks.docker.sides import Layerline
from tests.docker import daemon
from tests.registry import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# Seconds that a way may take: all but an archive, whose bytes have to be written.
LIMIT = 4.0
ARCHIVE = "archive"


def main() -> None:
    """Measure, print the table and write the document."""
    options = _options()
    options.work.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(bench.directory(options.work))
        repository = Repository.copied(place / "repository", image=options.image)
        mirror = stack.enter_context(bench.bases(place))
        for name in ("registry", "docker"):
            (place / name).mkdir()
        registry = stack.enter_context(serving(place / "registry"))
        docker = stack.enter_context(daemon(place / "docker"))
        side = Layerline(
            repository=repository,
            store=place / "store",
            mirror=mirror,
            log=options.work / "layerline.log",
            more=docker.environ,
        )
        ways: dict[str, Callable[[], object]] = {
            "build": side.build,
            "registry": lambda: side.push(f"{registry}/{options.image}:changed"),
            "docker": side.load,
            "layout": lambda: side.export(f"{place}/layout/"),
            ARCHIVE: lambda: side.export(place / "image.tar"),
        }
        found = _measured(repository, ways, options.runs)
        commit = repository.commit
    for line in table(found):
        print(line)
    document = {
        "commit": commit,
        "image": options.image,
        "ways": {
            name: [[each.seconds, each.processor, each.load] for each in timings]
            for name, timings in found.items()
        },
    }
    target = options.work / f"{options.image}-changed-source.json"
    target.write_text(json.dumps(document, indent=1) + "\n")


def table(found: Mapping[str, Sequence[Timing]]) -> list[str]:
    """The table in Markdown: medians."""
    lines = ["| way | seconds | processor | limit | load |", "| --- | --- | --- | --- | --- |"]
    for name, timings in found.items():
        seconds = statistics.median(each.seconds for each in timings)
        processor = statistics.median(each.processor for each in timings)
        limit = "" if name == ARCHIVE else f"{LIMIT:g} s{', MISSED' if seconds > LIMIT else ''}"
        loads = [each.load[0] for each in timings]
        cells = (
            name,
            f"{seconds:.1f} s",
            f"{processor:.1f} s",
            limit,
            f"{min(loads):.1f} to {max(loads):.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _measured(
    repository: Repository, ways: Mapping[str, Callable[[], object]], runs: int
) -> dict[str, list[Timing]]:
    """Each way once for what is unchanged, then in turns with a changed file before each call."""
    for name, work in ways.items():
        _say(f"{name}: before the change: {Timing.of(work).seconds:.1f} s")
    found: dict[str, list[Timing]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, work in ways.items():
            repository.edit()
            found[name].append(timing := Timing.of(work))
            _say(f"{name}: {timing.seconds:.1f} s, processor {timing.processor:.1f} s")
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what a changed source file costs.")
    parser.add_argument("--work", type=Path, required=True, help="directory to work in")
    parser.add_argument("--image", default="train-cuda", help="image of layerline.toml")
    parser.add_argument("--runs", type=int, default=5, help="calls of each way")
    return parser.parse_args()


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
