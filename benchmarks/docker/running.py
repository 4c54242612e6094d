"""From a changed lock to a running container, in docker and in podman.

    .venv/bin/python -m benchmarks.docker.running --work=DIRECTORY [--groups=core,cv,jax]

Each way has caches, a store and a daemon of its own. All of them build the image of the committed
lock and run it; then one package changes, and what is measured is the way to a running container.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.docker import bench
from benchmarks.docker.cases import Timing
from benchmarks.docker.repository import Repository
from benchmarks.docker.sides import LONGEST_SECONDS, Layerline, plain
from layerline import command
from layerline.engine.store.rmtree import remove_tree
from tests.docker import daemon
from tests.podman import unmount

if TYPE_CHECKING:
    from tests.docker import Docker

_NAME = "measured:1"
_IMAGE = "measured"
_PODMAN = ("--storage-driver=overlay", "--cgroup-manager=cgroupfs")
_RUN = ("run", "--rm", "--network=none", _NAME, "python", "-c", "import numpy")
_WRITE = "write of the bytes pulled"
_MOST_TIMES = 1.3
_MOST = 4096
# Podman asks for higher limits than root of a sandbox may have.
_LIMITS = (f"--ulimit=nofile={_MOST}:{_MOST}", f"--ulimit=nproc={_MOST}:{_MOST}")
_PODMAN_RUN = (_RUN[0], *_LIMITS, *_RUN[1:])

Step = tuple[str, Callable[[], object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to a running container; `forget` removes what was built, `steps` are measured.

    `pulled` are the bytes of each load. A way that has them is to take `_MOST_TIMES` its build and
    a write of the last ones at most.
    """

    repository: Repository
    forget: Callable[[], None]
    steps: tuple[Step, ...]
    pulled: Sequence[int] = ()


def main() -> None:
    """Measure, print the table and write the document."""
    options = _options()
    options.work.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, Timing]] = {}
    began = time.strftime("%Y-%m-%d %H:%M %Z")
    with bench.directory(options.work) as place:
        groups = options.groups.split(",")
        repository = Repository.copied(
            place / "repository", image=_IMAGE, package=options.package, groups=groups
        )
        commit = repository.commit
        with bench.bases(place) as mirror:
            for number, (name, make) in enumerate(WAYS.items()):
                if options.way and name not in options.way:
                    continue
                home = place / f"way-{number}"
                home.mkdir()
                with _removed(home), make(home, repository, mirror, options.work) as way:
                    found[name] = _measured(name, way, home)
    for line in table(found):
        print(line)
    document = {
        "commit": commit,
        "began": began,
        "ways": {
            name: {step: timing.seconds for step, timing in steps.items()}
            for name, steps in found.items()
        },
    }
    (options.work / "running.json").write_text(json.dumps(document, indent=1) + "\n")


def table(found: Mapping[str, Mapping[str, Timing]]) -> Iterator[str]:
    """The table in Markdown; the ratio is that to the first way."""
    first = next(iter(found.values()))
    own = _together(first)
    yield "| way | steps | together | at most | ratio | load |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, steps in found.items():
        seconds, limit = _together(steps), "-"
        if _WRITE in steps:
            most = _MOST_TIMES * (steps["build"].seconds + steps[_WRITE].seconds)
            limit = f"{most:.1f} s" if seconds <= most else f"**{most:.1f} s**"
        each = ", ".join(f"{step} {timing.seconds:.1f} s" for step, timing in steps.items())
        loads = [load for timing in steps.values() for load in timing.load]
        yield (
            f"| {name} | {each} | {seconds:.1f} s | {limit} | {seconds / own:.1f} "
            f"| {min(loads):.1f} to {max(loads):.1f} |"
        )


def _together(steps: Mapping[str, Timing]) -> float:
    """The seconds of all steps to a running container."""
    return sum(timing.seconds for step, timing in steps.items() if step != _WRITE)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the way to a running container.")
    parser.add_argument("--work", type=Path, required=True, help="directory to work in")
    parser.add_argument("--groups", default="core,cv,jax", help="groups of the image, target cpu")
    parser.add_argument("--package", default="jax", help="package whose version changes")
    parser.add_argument("--way", choices=WAYS, action="append", help="only this way; repeatable")
    return parser.parse_args()


def _measured(name: str, way: Way, home: Path) -> dict[str, Timing]:
    """Run every step for the committed lock, then measure each for the changed one."""
    way.repository.change()
    way.steps[0][1]()  # both versions' wheels are in the caches afterwards
    way.forget()
    way.repository.restore()
    for _, work in way.steps:
        work()
    way.repository.change()
    found = {}
    for step, work in way.steps:
        found[step] = Timing.of(work)
        print(f"{name}: {step}: {found[step].seconds:.1f} s", file=sys.stderr, flush=True)
    if way.pulled:
        found[_WRITE] = Timing.of(lambda: _write(home / "bytes", way.pulled[-1]))
    return found


def _write(place: Path, size: int) -> None:
    """Write as many bytes to the disk."""
    chunk = os.urandom(1 << 20)
    with place.open("wb") as file:
        for start in range(0, size, len(chunk)):
            file.write(chunk[: size - start])
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _loaded(home: Path, repository: Repository, mirror: str, work: Path) -> Iterator[Way]:
    """Layerline: `export-image`, and docker runs it."""
    with daemon(home) as docker:
        side = _layerline(home, repository, mirror, work, docker.environ)
        yield _pulled(side, _runs(docker))


@contextlib.contextmanager
def _archived(home: Path, repository: Repository, mirror: str, work: Path) -> Iterator[Way]:
    """Layerline: an archive, `docker load`, and docker runs it."""
    with daemon(home) as docker:
        side = _layerline(home, repository, mirror, work, docker.environ)
        archive = home / "image.tar"

        def load() -> None:
            said = docker.run("load", f"--input={archive}", timeout=LONGEST_SECONDS).decode()
            docker.run("tag", said.strip().rpartition(": ")[2].removeprefix("ID: "), _NAME)

        yield _through(archive, side, load, _runs(docker))


@contextlib.contextmanager
def _rebuilt(home: Path, repository: Repository, mirror: str, _: Path) -> Iterator[Way]:
    """Docker builds the plain Dockerfile and runs it."""
    with daemon(home, f"--registry-mirror=http://{mirror}", buildkit=True) as docker:
        side = plain(repository.copy(home / "repository"), docker)
        yield Way(
            repository=side.repository,
            forget=side.forget,
            steps=(("build", lambda: side.build(_NAME)), ("run", _runs(docker))),
        )


@contextlib.contextmanager
def _podman(home: Path, repository: Repository, mirror: str, work: Path) -> Iterator[Way]:
    """Layerline: `export-image`, and podman runs it."""
    with _podman_at(home) as (podman, environ):
        side = _layerline(home, repository, mirror, work, environ)
        yield _pulled(side, lambda: podman(*_PODMAN_RUN))


@contextlib.contextmanager
def _podman_archive(home: Path, repository: Repository, mirror: str, work: Path) -> Iterator[Way]:
    """Layerline: an archive, `podman load`, and podman runs it."""
    with _podman_at(home) as (podman, environ):
        side = _layerline(home, repository, mirror, work, environ)
        archive = home / "image.tar"

        def load() -> None:
            said = podman("load", f"--input={archive}").decode()
            podman("tag", said.strip().rpartition("Loaded image: ")[2], _NAME)

        yield _through(archive, side, load, lambda: podman(*_PODMAN_RUN))


@contextlib.contextmanager
def _podman_at(home: Path) -> Iterator[tuple[Callable[..., bytes], Mapping[str, str]]]:
    """A podman with a storage of its own: how to call it, and the path that has it alone."""
    folder = home / "bin"
    folder.mkdir()
    program = command.require("podman")
    state = Path(f"/run/layerline-{os.getpid()}")  # podman takes no longer path
    words = " ".join([f"--root={home}/root --runroot={state}", *_PODMAN])
    for name, line in (("podman", f'exec {program} {words} "$@"'), ("docker", "exit 1")):
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    environ = {"PATH": f"{folder}:{os.defpath}:/usr/sbin:/sbin"}

    def call(*argv: str) -> bytes:
        program = folder / "podman"
        return command.run([program, *argv], env=environ, timeout=LONGEST_SECONDS).stdout

    try:
        yield call, environ
    finally:
        unmount(home / "root")
        remove_tree(state)


WAYS = {
    "export-image, docker": _loaded,
    "archive and docker load": _archived,
    "docker build": _rebuilt,
    "export-image, podman": _podman,
    "archive and podman load": _podman_archive,
}


def _layerline(
    home: Path, repository: Repository, mirror: str, work: Path, environ: Mapping[str, str]
) -> Layerline:
    return Layerline(
        repository=repository.copy(home / "repository"),
        store=home / "store",
        mirror=mirror,
        log=work / "layerline.log",
        more=environ,
    )


def _pulled(side: Layerline, run: Callable[[], object]) -> Way:
    """The way by `export-image`, which has what it calls pull the image."""
    pulled: list[int] = []
    return Way(
        repository=side.repository,
        forget=side.forget,
        steps=(("build", side.build), ("load", lambda: pulled.append(side.load())), ("run", run)),
        pulled=pulled,
    )


def _through(
    archive: Path, side: Layerline, load: Callable[[], None], run: Callable[[], object]
) -> Way:
    """The way by an archive."""
    return Way(
        repository=side.repository,
        forget=side.forget,
        steps=(
            ("build", side.build),
            ("export", lambda: side.export(archive)),
            ("load", load),
            ("run", run),
        ),
    )


def _runs(docker: Docker) -> Callable[[], object]:
    return lambda: docker.run(*_RUN, timeout=LONGEST_SECONDS)


@contextlib.contextmanager
def _removed(home: Path) -> Iterator[None]:
    try:
        yield
    finally:
        remove_tree(home)


if __name__ == "__main__":
    main()
