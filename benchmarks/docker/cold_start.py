"""How fast an image starts: with its bytecode, without, and as docker and uv build it.

    .venv/bin/python -m benchmarks.docker.cold_start --work=DIRECTORY [--image=train-cuda]

All sides are images of one docker daemon and take turns. A start is a command that imports, or the
image's own command until `/ready` answers with 200; its time begins inside the container, so docker
is not in it. With --cold the page cache is emptied before each.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.docker import bench
from benchmarks.docker.repository import DEFINITION, Repository
from benchmarks.docker.sides import LONGEST_SECONDS, TAG, Layerline, plain
from tests.docker import daemon

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.docker import Docker

_PROGRAMS = Path(__file__).parent / "programs"
_READY = "http://127.0.0.1:{port}/ready"
_MODELS = "/models"
_VARIABLES = {"MODEL_ROOT": _MODELS, "MODEL_PATH": "single.ckpt", "PYTHONPATH": "/app/src"}
_DROP_CACHES = Path("/proc/sys/vm/drop_caches")
_MB = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Wall and processor seconds, and the most memory in bytes."""

    seconds: float
    processor: float
    memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """The images of one daemon, by their side; `options` are the arguments of `docker run`."""

    docker: Docker
    options: Sequence[str]
    command: Sequence[str]
    cold: bool

    def start(self, name: str) -> Start:
        """Start one of them."""
        if self.cold:
            os.sync()
            _DROP_CACHES.write_text("3\n")
        said = run_program(self.docker, name, "start.py", *self.command, options=self.options)
        return Start(**json.loads(said))

    def size(self, name: str) -> int:
        """The bytes of one of them."""
        return int(self.docker.run("image", "inspect", "--format={{.Size}}", name))


def main() -> None:
    """Measure, print the table and write the document."""
    options = _options()
    options.work.mkdir(parents=True, exist_ok=True)
    with bench.directory(options.work) as place, bench.bases(place) as mirror:
        groups = options.groups.split(",") if options.groups else ()
        repository = Repository.copied(
            place / "repository", image=options.image, package=options.package, groups=groups
        )
        commit = repository.commit
        home = place / "docker"
        home.mkdir()
        with daemon(home, f"--registry-mirror=http://{mirror}", buildkit=True) as docker:
            names = list(_build(repository, docker, mirror, place, options.work))
            images = _images(docker, names[0], repository, place, options)
            found = _measured(images, names, options.runs)
            sizes = {name: images.size(name) for name in names}
    for line in table(found, sizes):
        print(line)
    document = {
        "commit": commit,
        "image": options.image,
        "command": list(images.command),
        "cold": options.cold,
        "load": os.getloadavg(),
        "sizes": sizes,
        "starts": {
            name: [[each.seconds, each.processor, each.memory] for each in starts]
            for name, starts in found.items()
        },
    }
    target = options.work / f"{options.image}-cold-start.json"
    target.write_text(json.dumps(document, indent=1) + "\n")


def table(found: Mapping[str, Sequence[Start]], sizes: Mapping[str, int]) -> Iterator[str]:
    """The table in Markdown; ratios are to the first side, above 1 where that is faster."""
    medians = {name: statistics.median(each.seconds for each in found[name]) for name in found}
    first = medians[next(iter(found))]
    yield "| side | size | seconds | ratio | processor | memory |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, starts in found.items():
        processor = statistics.median(each.processor for each in starts)
        memory = statistics.median(each.memory for each in starts)
        yield (
            f"| {name} | {sizes[name] / _MB:,.0f} MB | {medians[name]:.2f} s "
            f"| {medians[name] / first:.2f} | {processor:.2f} s | {memory / _MB:,.0f} MB |"
        )


def run_program(
    docker: Docker, image: str, name: str, *argv: str, options: Sequence[str] = ()
) -> bytes:
    """Run one of the programs in a container; returns its output."""
    place = f"/mnt/{name}"
    words = ["run", "--rm", "--network=none", "--entrypoint=", *options]
    words += [f"--volume={_PROGRAMS / name}:{place}:ro", image, "python", place, *argv]
    return docker.run(*words, timeout=LONGEST_SECONDS)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure how fast an image starts.")
    parser.add_argument("--work", type=Path, required=True, help="directory to work in")
    parser.add_argument("--image", default="train-cuda", help="image of layerline.toml")
    parser.add_argument("--groups", default="", help="make --image of these, for the target cpu")
    parser.add_argument("--imports", default="torch, jax, cv2", help="what a start imports")
    parser.add_argument(
        "--ready", action="store_true", help="wait for /ready instead, with a model"
    )
    parser.add_argument(
        "--cold", action="store_true", help="empty the page cache before each start"
    )
    parser.add_argument("--runs", type=int, default=5, help="starts of each side")
    parser.add_argument("--package", default="jax", help="package of the second lock; not built")
    return parser.parse_args()


def _build(
    repository: Repository, docker: Docker, mirror: str, place: Path, work: Path
) -> Iterator[str]:
    """Build all sides; their names in the daemon."""
    without = repository.copy(place / "without")
    definition = without.place / DEFINITION
    table = f"[images.{repository.image}]\n"
    definition.write_text(definition.read_text().replace(table, f"{table}bytecode = false\n"))
    for name, copy in (("layerline", repository), ("without", without)):
        side = Layerline(
            repository=copy,
            store=place / "store",
            mirror=mirror,
            log=work / "layerline.log",
            more=docker.environ,
        )
        _say(f"builds {name}")
        side.load()
        docker.run("tag", f"{TAG}:1", name)
        yield name
    _say("builds docker")
    plain(repository.copy(place / "plain"), docker).build("docker")
    yield "docker"


def _images(
    docker: Docker, name: str, repository: Repository, place: Path, options: argparse.Namespace
) -> Images:
    """What a start is."""
    if not options.ready:
        command = ["exit", "python", "-c", f"import {options.imports}"]
        return Images(docker=docker, options=(), command=command, cold=options.cold)
    models = place / "models"
    models.mkdir(mode=0o777)
    models.chmod(0o777)
    mounted = [f"--volume={models}:{_MODELS}"]
    mounted += [f"--env={key}={value}" for key, value in _VARIABLES.items()]
    run_program(docker, name, "model.py", f"{_MODELS}/single.ckpt", options=mounted)
    port = repository.spec.env["PORT"]
    command = [_READY.format(port=port), *repository.spec.command]
    return Images(
        docker=docker,
        options=[*mounted, f"--env=PORT={port}"],
        command=command,
        cold=options.cold,
    )


def _measured(images: Images, names: Sequence[str], runs: int) -> dict[str, list[Start]]:
    """Start all sides in turns; once each before, so that none of them has a cold cache alone."""
    found: dict[str, list[Start]] = {name: [] for name in names}
    for turn in range(runs + 1):
        for name in names:
            start = images.start(name)
            _say(f"{name}: {start.seconds:.2f} s, processor {start.processor:.2f} s")
            if turn:
                found[name].append(start)
    return found


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
