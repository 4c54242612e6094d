"""The base images that tests and the conformance run use, served by a local registry.

    python -m tests.images --registry 127.0.0.1:5000

pushes `debian:bookworm-slim` and `python:3.11-slim` there; the engine then finds them with the
registry set as mirror of the default one. They are made from Debian's packages, once per machine.
"""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from layerline import command, host
from layerline.engine.image.assemble import AssembledImage, Part, assemble
from layerline.engine.image.bootstrap import Recipe, bootstrap, sources_for
from layerline.engine.image.config import ImageConfig
from layerline.engine.image.pack import tar_digest
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry.connections import Registries
from layerline.engine.store.epoch import EPOCH
from layerline.engine.store.store import Store
from layerline.settings import Settings, process_environ

if TYPE_CHECKING:
    from collections.abc import Mapping

_TABLE = "image"
_EPOCH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A base image: Debian with packages, links put in and files taken out."""

    name: str
    packages: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    cmd: tuple[str, ...] | None = None


BASES = (
    Base(name="debian:bookworm-slim"),
    Base(
        name="python:3.11-slim",
        packages=("ca-certificates", "python3", "python3-pip", "python3-venv"),
        links={"usr/local/bin/python": "/usr/bin/python3"},
        # The official image lets pip install beside the distribution; so does this one.
        without=("usr/lib/python3.11/EXTERNALLY-MANAGED",),
        cmd=("python3",),
    ),
)


def cache_directory(environ: Mapping[str, str]) -> Path:
    """Where the images are kept between runs."""
    home = Path(environ.get("HOME") or "/root")
    return Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "layerline-test-images"


def serve(registry: str, cache: Path) -> dict[str, AssembledImage]:
    """Make what is missing and push all base images to a registry; what was pushed, by name."""
    settings = Settings.from_environ({"HOME": str(cache), "LAYERLINE_STORE": str(cache / "store")})
    cache.mkdir(parents=True, exist_ok=True)
    with Store.open(settings.store) as store, Registries.open(settings) as registries:
        made = {base.name: make(store, base) for base in BASES}
        for name, image in made.items():
            plain = Reference.parse(name)
            place = Reference(registry=registry, repository=plain.repository, tag=plain.tag)
            registries.registry(place).push(store, image)
        return made


def serve_as(registry: str, cache: Path, alias: str) -> None:
    """Push the first base image under another name too."""
    settings = Settings.from_environ({"HOME": str(cache), "LAYERLINE_STORE": str(cache / "store")})
    with Store.open(settings.store) as store, Registries.open(settings) as registries:
        plain = Reference.parse(alias)
        place = Reference(registry=registry, repository=plain.repository, tag=plain.tag)
        registries.registry(place).push(store, make(store, BASES[0]))


def serve_suite(registry: str, cache: Path, name: str, suite: str) -> None:
    """Push a Debian as it was released, without updates and security updates, under a name."""
    settings = Settings.from_environ({"HOME": str(cache), "LAYERLINE_STORE": str(cache / "store")})
    cache.mkdir(parents=True, exist_ok=True)
    with Store.open(settings.store) as store, Registries.open(settings) as registries:
        plain = Reference.parse(name)
        place = Reference(registry=registry, repository=plain.repository, tag=plain.tag)
        registries.registry(place).push(store, _released(store, suite))


def _released(store: Store, suite: str) -> AssembledImage:
    key = f"test released {suite}"
    recipe = Recipe(distribution="debian", suite=suite, slim=True)
    with store.locks.exclusive(key):
        row = store.index.get(_TABLE, key)
        if row is None:
            with store.snapshots.draft() as draft, TemporaryDirectory() as apt:
                sources = Path(apt) / "sources.list.d" / "released.sources"
                sources.parent.mkdir()
                stanzas = re.split(r"\n(?=Types:)", sources_for(suite))
                # Where this machine has none, mmdebstrap takes the suite alone from its own mirror.
                for main in (each for each in stanzas if f"Suites: {suite} " in f"{each} "):
                    sources.write_text(re.sub(r"(?m)^Suites: .*$", f"Suites: {suite}", main))
                bootstrap(recipe, draft.fs, scratch=store.scratch, apt=Path(apt))
                snapshot = draft.commit("test-" + tar_digest(draft.fs).removeprefix("sha256:"))
            store.index.put(_TABLE, key, {"snapshot": snapshot}, snapshots=(snapshot,))
        else:
            snapshot = str(row["snapshot"])
    config = ImageConfig(env=(("PATH", command.DEFAULT_PATH),))
    return assemble(store, [Part(config=config, layers=(snapshot,))])


def make(store: Store, base: Base) -> AssembledImage:
    """A base image, from the store if it was made before."""
    key = f"test {_EPOCH} {base!r}"
    with store.locks.exclusive(key):
        row = store.index.get(_TABLE, key)
        if row is None:
            snapshot = _bootstrap(store, base)
            store.index.put(_TABLE, key, {"snapshot": snapshot}, snapshots=(snapshot,))
        else:
            snapshot = str(row["snapshot"])
    config = ImageConfig(env=(("PATH", command.DEFAULT_PATH),), cmd=base.cmd)
    return assemble(store, [Part(config=config, layers=(snapshot,))])


def image_of(store: Store, *roots: Path, config: ImageConfig | None = None) -> AssembledImage:
    """An image of directories, one layer each; they are copied."""
    layers = tuple(snapshot_of(store, root) for root in roots)
    return assemble(store, [Part(config=config or ImageConfig(), layers=layers)])


def snapshot_of(store: Store, root: Path) -> str:
    """A snapshot with the files of a directory."""
    with store.snapshots.draft() as draft:
        _copy(root, draft.fs)
        return draft.commit("test-" + tar_digest(draft.fs).removeprefix("sha256:"))


def _bootstrap(store: Store, base: Base) -> str:
    recipe = Recipe(distribution="debian", suite="bookworm", slim=True, packages=base.packages)
    with store.snapshots.draft() as draft:
        bootstrap(recipe, draft.fs, scratch=store.scratch)
        for name, target in base.links.items():
            path = draft.fs / name
            path.symlink_to(target)
            _date(path)
        for name in base.without:
            (draft.fs / name).unlink()
        for name in (*base.links, *base.without):
            _date((draft.fs / name).parent)
        return draft.commit("test-" + tar_digest(draft.fs).removeprefix("sha256:"))


def _date(path: Path) -> None:
    os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)


def _copy(source: Path, target: Path) -> None:
    """Files, directories and links with mode and time; owners stay the copier's."""
    for path in sorted(source.iterdir()):
        place = target / path.name
        status = path.lstat()
        if path.is_symlink():
            place.symlink_to(path.readlink())
        elif path.is_dir():
            place.mkdir()
            _copy(path, place)
            place.chmod(status.st_mode & 0o7777)
        else:
            place.write_bytes(path.read_bytes())
            place.chmod(status.st_mode & 0o7777)
        times = (status.st_atime_ns, status.st_mtime_ns)
        os.utime(place, ns=times, follow_symlinks=False)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Push the test base images to a registry.")
    parser.add_argument("--registry", required=True, help="host:port of a registry without TLS")
    parser.add_argument("--cache", type=Path, default=cache_directory(process_environ()))
    options = parser.parse_args()
    host.enter_namespaces()
    for name, image in serve(options.registry, options.cache).items():
        print(f"{options.registry}: {name} {image.root.digest}")


if __name__ == "__main__":
    main()
