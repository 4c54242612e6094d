"""Two machines with one registry between them, at the end of a slow line.

    .venv/bin/python -m benchmarks.cache --work=DIRECTORY [--image=api] [--package=fastapi]
        [--part=alone|publish|export|test|change …]

All that it makes lies in a new directory below DIRECTORY and goes at the end, except for the table.
README.md says what is measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cache.line import BYTES_PER_SECOND
from benchmarks.cache.machine import Machine
from benchmarks.cache.registry import far_registry
from benchmarks.cache.wanted import HEAD, NOTHING, Wanted, row
from benchmarks.docker.bench import bases, directory
from benchmarks.docker.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.cache.machine import Cost
    from benchmarks.cache.registry import Registry

    Measured = tuple[str, Cost, Wanted]

_SOURCE = "src/ct_scan_mlops/__init__.py"
_SMALL, _SOME = 200e3, 2e6  # bytes


def main() -> None:
    """Measure, print the table and write the document."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started ends then, too
    options.work.mkdir(parents=True, exist_ok=True)
    costs: dict[str, Cost] = {}
    print(HEAD)
    for case, cost, wanted in _measured(options):
        costs[case] = cost
        print(row(case, cost, wanted), flush=True)
    document = {"load": os.getloadavg(), **{k: dataclasses.asdict(v) for k, v in costs.items()}}
    (options.work / "cache.json").write_text(json.dumps(document, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure a cache in a registry.")
    parser.add_argument("--work", type=Path, required=True, help="directory to work in")
    parser.add_argument("--image", default="api", help="image of layerline.toml")
    parser.add_argument("--package", default="fastapi", help="package whose version changes")
    parser.add_argument(
        "--part",
        choices=PARTS,
        action="append",
        help="what to measure after the first build that is written; repeatable, all by default",
    )
    return parser.parse_args()


def _measured(options: argparse.Namespace) -> Iterator[Measured]:
    """The cases in their order, each of which may find what those before have left."""
    with directory(options.work) as place, far_registry(place / "registry") as registry:
        repository = Repository.copied(
            place / "repository", image=options.image, package=options.package
        )
        with bases(place) as mirror:
            bench = _Bench(place, repository, registry, mirror, options.package)
            parts = options.part or list(PARTS)
            longest = None
            if "alone" in parts:
                alone = bench.machine("alone", mode="").call(*bench.build)
                yield "no cache: first build", alone, NOTHING
                longest = alone.seconds
            first = bench.machine("A", mode="read,write")
            written = first.call(*bench.build)
            if longest is not None:
                longest = 1.1 * max(longest, written.up / BYTES_PER_SECOND)
            yield "A: first build, written", written, Wanted(seconds=longest)
            for part in parts:
                yield from PARTS[part](bench, first)


@dataclasses.dataclass(frozen=True, slots=True)
class _Bench:
    place: Path
    repository: Repository
    registry: Registry
    mirror: str
    package: str

    def machine(self, name: str, *, mode: str) -> Machine:
        """A new machine."""
        return Machine.new(
            name,
            self.place,
            self.repository,
            self.registry,
            mirror=self.mirror,
            mode=mode,
            cache="cache",
        )

    @property
    def build(self) -> tuple[str, ...]:
        """The words that build the image and probe it."""
        return ("validate", f"--image={self.repository.image}")

    def publish(self, *, attach: bool) -> tuple[str, ...]:
        """The words that publish it next to the cache, alone or with what is said of it."""
        image = self.repository.image
        address = f"--address={self.registry.address}/team/{image}:1"
        return ("publish", f"--image={image}", address, f"--attach={str(attach).lower()}")


def _alone(_bench: _Bench, _first: Machine) -> Iterator[Measured]:
    """Measured before the first machine that writes."""
    yield from ()


def _published(bench: _Bench, first: Machine) -> Iterator[Measured]:
    """The image alone, then with attachments: one container sends these, as nothing else may."""
    alone = Wanted(containers=0, up=_SMALL, down=_SOME)
    yield "A: publish", first.call(*bench.publish(attach=False)), alone
    yield "A: publish and attach", first.call(*bench.publish(attach=True)), NOTHING
    second = bench.machine("B", mode="read")
    cost = second.call(*bench.publish(attach=False))
    yield "B, empty: publish", cost, dataclasses.replace(alone, seconds=5.0)
    attached = bench.machine("B2", mode="read").call(*bench.publish(attach=True))
    yield "B2, empty: publish and attach", attached, Wanted(containers=1, up=_SMALL)


def _exported(bench: _Bench, _first: Machine) -> Iterator[Measured]:
    third = bench.machine("C", mode="read")
    archive = bench.place / "image.tar"
    cost = third.call("build", bench.build[1], "export", f"--path={archive}")
    yield "C, empty: export", cost, Wanted(containers=0, down=1.1 * archive.stat().st_size)
    archive.unlink()


def _tested(bench: _Bench, first: Machine) -> Iterator[Measured]:
    test = f"test-{bench.repository.image}"
    yield "A: test", first.call(test), NOTHING
    fourth = bench.machine("D", mode="read")
    yield "D, empty: test", fourth.call(test), Wanted(containers=0, up=_SMALL, down=_SOME)


def _changed(bench: _Bench, _first: Machine) -> Iterator[Measured]:
    fifth = bench.machine("E", mode="read")
    source = fifth.repository.place / _SOURCE
    source.write_text(source.read_text() + "\n# changed\n")
    wanted = Wanted(containers=1, up=_SMALL)
    publish = bench.publish(attach=False)
    yield "E, empty: a source file changed, publish", fifth.call(*publish), wanted
    fifth.repository.change()
    yield f"E: {bench.package} changed, publish", fifth.call(*publish), NOTHING


PARTS: dict[str, Callable[[_Bench, Machine], Iterator[Measured]]] = {
    "alone": _alone,
    "publish": _published,
    "export": _exported,
    "test": _tested,
    "change": _changed,
}


if __name__ == "__main__":
    main()
