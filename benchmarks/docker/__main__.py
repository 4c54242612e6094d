"""An image beside Debian's docker, both in one run on one machine.

    .venv/bin/python -m benchmarks.docker --work=DIRECTORY [--image=dev] [--package=jax]

All that it makes lies in a new directory below DIRECTORY and goes at the end, except for the report
and logs. README.md says what is measured and what it needs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.docker import report, sides
from benchmarks.docker.cases import fits, timings, warm
from benchmarks.docker.floor import floor
from benchmarks.docker.repository import Repository
from layerline.engine.store.removal import remove_tree
from layerline.settings import process_environ
from tests.docker import daemon
from tests.images import cache_directory, serve
from tests.registry import serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.docker.cases import Case, Timing

PEERS = {"plain": sides.plain, "rendered": sides.rendered}


def main() -> None:
    """Measure, print the table and write the document."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started ends then, too
    options.work.mkdir(parents=True, exist_ok=True)
    run = _run(options)
    for line in report.table(run):
        print(line)
    written = json.dumps(report.document(run), indent=1) + "\n"
    (options.work / f"{options.image}.json").write_text(written)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure an image beside Debian's docker.")
    parser.add_argument("--work", type=Path, required=True, help="directory to work in")
    parser.add_argument("--image", default="dev", help="image of layerline.toml")
    parser.add_argument("--package", default="jax", help="package whose version changes")
    parser.add_argument(
        "--peer", choices=PEERS, action="append", help="Dockerfile to compare with; several: all"
    )
    return parser.parse_args()


def _run(options: argparse.Namespace) -> report.Run:
    began = time.strftime("%Y-%m-%d %H:%M %Z")
    with _directory(options.work) as place:
        repository = Repository.copied(
            place / "repository", image=options.image, package=options.package
        )
        with _bases(place) as mirror:
            own = sides.Layerline(
                repository=repository,
                store=place / "store",
                mirror=mirror,
                log=options.work / "layerline.log",
            )
            if not fits(own, repository, place):
                raise SystemExit(1)
            warm(own, repository)
            found = {own.name: timings(own, repository, place)}
            lowest = floor(repository, own.caches(), place)
            remove_tree(own.store)
            version, others = _dockers(options.peer or list(PEERS), repository, mirror, place)
        return report.Run(
            image=options.image,
            commit=repository.commit,
            package=options.package,
            docker=version,
            began=began,
            sides={**found, **others},
            floor=lowest,
        )


def _dockers(
    peers: list[str], repository: Repository, mirror: str, place: Path
) -> tuple[str, Mapping[str, Mapping[Case, Timing]]]:
    """Docker's version and what its sides took; they share the cache mounts of one daemon."""
    home = place / "docker"
    home.mkdir()
    with daemon(home, f"--registry-mirror=http://{mirror}", buildkit=True) as docker:
        version = docker.run("version", "--format={{.Server.Version}}").decode().strip()
        chosen = [
            side
            for name in peers
            if fits(side := PEERS[name](repository, docker), repository, place)
        ]
        for side in chosen[:1]:
            warm(side, repository)
        return version, {side.name: timings(side, repository, place) for side in chosen}


@contextlib.contextmanager
def _bases(place: Path) -> Iterator[str]:
    """A registry that has the base images."""
    home = place / "bases"
    home.mkdir()
    with serving(home) as mirror:
        serve(mirror, cache_directory(process_environ()))
        yield mirror


@contextlib.contextmanager
def _directory(work: Path) -> Iterator[Path]:
    """A directory of this run's own."""
    place = Path(tempfile.mkdtemp(dir=work, prefix="run-"))
    try:
        yield place
    finally:
        remove_tree(place)


if __name__ == "__main__":
    main()
