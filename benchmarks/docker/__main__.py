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
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.docker import bench, cases, report, sides
from benchmarks.docker.cases import OWN
from benchmarks.docker.floor import floor
from benchmarks.docker.repository import Repository
from layerline import command
from layerline.engine.store.rmtree import remove_tree
from tests.docker import daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.docker.cases import Case, Timing
    from benchmarks.docker.sides import Side

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
    found: dict[str, dict[Case, Timing]] = {}
    with bench.directory(options.work) as place:
        repository = Repository.copied(
            place / "repository", image=options.image, package=options.package
        )
        with bench.bases(place) as mirror:
            made = _Bench(place=place, repository=repository, mirror=mirror, work=options.work)
            lowest = None
            for group in cases.groups(options.peer or list(PEERS), repository, place):
                with contextlib.ExitStack() as stack:
                    opened = {name: stack.enter_context(made.side(name)) for name in group}
                    found |= cases.timings(opened, place)
                    if isinstance(own := opened.get(OWN), sides.Layerline):
                        lowest = floor(own.repository, own.caches(), place)
        if lowest is None:
            raise SystemExit(1)
        return report.Run(
            image=options.image,
            commit=repository.commit,
            package=options.package,
            docker=_docker_version(),
            began=began,
            sides=found,
            floor=lowest,
        )


def _docker_version() -> str:
    said = command.run(["dockerd", "--version"]).stdout.decode()
    return said.strip().removeprefix("Docker version ")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """Where sides are set up, each with a copy of the repository, and taken down again."""

    place: Path
    repository: Repository
    mirror: str
    work: Path

    @contextlib.contextmanager
    def side(self, name: str) -> Iterator[Side]:
        """A side with caches and a daemon of its own; nothing of it stays."""
        home = self.place / name
        home.mkdir()
        repository = self.repository.copy(home / "repository")
        try:
            if name == OWN:
                log = self.work / f"{name}.log"
                store = home / "store"
                yield sides.Layerline(
                    repository=repository, store=store, mirror=self.mirror, log=log
                )
            else:
                with daemon(
                    home, f"--registry-mirror=http://{self.mirror}", buildkit=True
                ) as docker:
                    yield PEERS[name](repository, docker)
        finally:
            remove_tree(home)


if __name__ == "__main__":
    main()
