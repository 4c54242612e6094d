"""Two machines with one registry between them, at the end of a slow line.

    .venv/bin/python -m benchmarks.cache --work=DIRECTORY [--image=api] [--package=fastapi]

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

from benchmarks.cache.machine import Machine
from benchmarks.cache.registry import far_registry
from benchmarks.docker.bench import bases, directory
from benchmarks.docker.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.cache.machine import Cost
    from benchmarks.cache.registry import Registry

_SOURCE = "src/ct_scan_mlops/__init__.py"
_MB = 10**6


def main() -> None:
    """Measure, print the table and write the document."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started ends then, too
    options.work.mkdir(parents=True, exist_ok=True)
    costs: dict[str, Cost] = {}
    print("| case | seconds | containers | up | down |\n| --- | --- | --- | --- | --- |")
    for case, cost in _measured(options):
        costs[case] = cost
        sizes = (f"{size / _MB:.2f} MB" for size in (cost.up, cost.down))
        print(
            f"| {case} | {cost.seconds:.1f} | {cost.containers} | {' | '.join(sizes)} |", flush=True
        )
    document = {"load": os.getloadavg(), **{k: dataclasses.asdict(v) for k, v in costs.items()}}
    (options.work / "cache.json").write_text(json.dumps(document, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure a cache in a registry.")
    parser.add_argument("--work", type=Path, required=True, help="directory to work in")
    parser.add_argument("--image", default="api", help="image of layerline.toml")
    parser.add_argument("--package", default="fastapi", help="package whose version changes")
    return parser.parse_args()


def _measured(options: argparse.Namespace) -> Iterator[tuple[str, Cost]]:
    """The cases in their order, each of which may find what those before have left."""
    image = options.image
    with directory(options.work) as place, far_registry(place / "registry") as registry:
        repository = Repository.copied(place / "repository", image=image, package=options.package)
        with bases(place) as mirror:
            bench = _Bench(place, repository, registry, mirror)
            alone = bench.machine("no-cache", mode="")
            yield "no cache: first build", alone.call("validate", f"--image={image}")
            first = bench.machine("A", mode="read,write")
            yield "A: first build, written", first.call("validate", f"--image={image}")
            yield "A: publish", first.call(*_publish(registry, image))
            yield "A: test", first.call(f"test-{image}")
            second = bench.machine("B", mode="read")
            yield "B, empty: publish", second.call(*_publish(registry, image))
            yield "B: test", second.call(f"test-{image}")
            archive = place / "image.tar"
            third = bench.machine("C", mode="read")
            export = ("build", f"--image={image}", "export", f"--path={archive}")
            yield "C, empty: export", third.call(*export)
            source = second.repository.place / _SOURCE
            source.write_text(source.read_text() + "\n# changed\n")
            yield "B: a source file changed, publish", second.call(*_publish(registry, image))
            second.repository.change()
            yield f"B: {options.package} changed, publish", second.call(*_publish(registry, image))


def _publish(registry: Registry, image: str) -> tuple[str, ...]:
    return ("publish", f"--image={image}", f"--address={registry.address}/team/{image}:1")


@dataclasses.dataclass(frozen=True, slots=True)
class _Bench:
    place: Path
    repository: Repository
    registry: Registry
    mirror: str

    def machine(self, name: str, *, mode: str) -> Machine:
        """A new machine."""
        return Machine.new(
            name, self.place, self.repository, self.registry, mirror=self.mirror, mode=mode
        )


if __name__ == "__main__":
    main()
