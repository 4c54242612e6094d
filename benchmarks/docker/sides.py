"""Who is measured: Layerline, and Debian's docker with one of two Dockerfiles.

A side that was warmed and then made to forget has its caches of wheels and of the distribution's
packages, and nothing else.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from benchmarks.docker import dockerfiles
from benchmarks.docker.repository import CHECKOUT
from layerline import command
from layerline.engine.store.usage import identity_of
from layerline.quantities import parse_size
from layerline.settings import CA_BUNDLE, process_environ
from tests.http_server import serving_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.docker.repository import Repository
    from tests.docker import Docker

TAG = "measured"
# Of the output of `export-image`.
_PULLED = re.compile(r"layers pulled, (\d[\d.]* \w+)")
LONGEST_SECONDS = 7200.0
# The layers of a store, and what was remembered of steps; its caches and programs stay.
_FORGOTTEN = ("blobs", "snapshots", "index.db", "index.db-wal", "index.db-shm")


class Side(Protocol):
    """A way to build an image and to bring it out."""

    @property
    def repository(self) -> Repository:
        """The side's own copy of what is built."""

    def warm(self) -> None:
        """Build the image for its caches' sake."""

    def forget(self) -> None:
        """Remove all that was built, except for the caches."""

    def export(self, archive: Path) -> None:
        """Build, and write the image to a file."""

    def push(self, address: str) -> None:
        """Build, and push the image to a registry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layerline:
    """The Layerline of this checkout, with a store of its own."""

    repository: Repository
    store: Path
    mirror: str
    log: Path
    more: Mapping[str, str] = field(default_factory=dict)

    def warm(self) -> None:
        """Build the layers and probe them."""
        self._call("validate", f"--image={self.repository.image}")

    def forget(self) -> None:
        """Remove layers, blobs and results, bytecode among them."""
        for path in (self.store / name for name in _FORGOTTEN):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def export(self, archive: Path | str) -> None:
        """One call; a path that ends in a slash gets an OCI layout."""
        self._call("build", f"--image={self.repository.image}", "export", f"--path={archive}")

    def build(self) -> None:
        """Build and probe, and bring nothing out."""
        self._call("build", f"--image={self.repository.image}", "sync")

    def load(self) -> int:
        """Bring the image into the container program that `more` is for; the bytes pulled."""
        image = f"--image={self.repository.image}"
        said = self._call("build", image, "export-image", f"--name={TAG}:1")
        found = _PULLED.search(said)
        return parse_size(found[1]) if found else 0

    def push(self, address: str) -> None:
        """One call, without attachments, which docker's push has not."""
        image = self.repository.image
        self._call("publish", f"--image={image}", f"--address={address}", "--attach=false")

    def caches(self) -> Iterator[Path]:
        """The caches of wheels."""
        yield from (place / "data" for name, place in self._volumes() if name.startswith("uv-"))

    def _volumes(self) -> Iterator[tuple[str, Path]]:
        """The cache volumes with their names."""
        for place in sorted((self.store / "volumes").iterdir()):
            yield identity_of(place), place

    def _call(self, *words: str) -> str:
        argv = [sys.executable, "-m", "layerline", "call", "--progress=plain", *words]
        done = command.run(argv, env=self._environ, cwd=self.repository.place, expect=None)
        with self.log.open("ab") as file:
            file.write(done.stderr)
        if done.status:
            message = f"layerline call {' '.join(words)} failed; see {self.log}"
            raise SystemExit(message)
        return done.stderr.decode()

    @property
    def _environ(self) -> Mapping[str, str]:
        own = {
            "LAYERLINE_STORE": str(self.store),
            "LAYERLINE_REGISTRY_MIRRORS": f"docker.io=http://{self.mirror}",
            "PYTHONPATH": str(CHECKOUT / "src"),
        }
        # A tool that is installed has its bytecode after the first command.
        given = {
            name: value
            for name, value in process_environ().items()
            if name != "PYTHONDONTWRITEBYTECODE"
        }
        return {**given, **self.more, **own}


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerBuild:
    """Debian's docker with BuildKit and one Dockerfile, which `write` makes for the lock."""

    repository: Repository
    docker: Docker
    dockerfile: str
    write: Callable[[Repository], None]

    def warm(self) -> None:
        """Build the image."""
        self.build(TAG)

    def forget(self) -> None:
        """Remove images and steps; BuildKit's records of cache mounts are of another type."""
        images = self._docker("image", "ls", "--all", "--quiet").split()
        if images:
            self._docker("image", "rm", "--force", *dict.fromkeys(images))
        for kind in ("regular", "frontend", "source.local"):
            self._docker("builder", "prune", "--all", "--force", f"--filter=type={kind}")

    def export(self, archive: Path) -> None:
        """Build and save."""
        self.build(TAG)
        self._docker("image", "save", f"--output={archive}", TAG)

    def push(self, address: str) -> None:
        """Build and push."""
        self.build(address)
        self._docker("image", "push", "--quiet", address)

    def build(self, tag: str) -> None:
        """Build under a name."""
        self.write(self.repository)
        words = ["--network=host", f"--secret=id=ca,src={CA_BUNDLE}", "--progress=plain"]
        with contextlib.ExitStack() as stack:
            if wheels := process_environ().get("PIP_FIND_LINKS"):
                served = stack.enter_context(serving_files(Path(wheels)))
                config = stack.enter_context(tempfile.NamedTemporaryFile("w", suffix=".toml"))
                config.write(f'find-links = ["http://{served}/"]\n')
                config.flush()
                words.append(f"--secret=id=uv,src={config.name}")
            self._docker("build", *words, f"--file={self.dockerfile}", f"--tag={tag}", ".")

    def _docker(self, *words: str) -> str:
        done = self.docker.run(*words, cwd=self.repository.place, timeout=LONGEST_SECONDS)
        return done.decode()


def rendered(repository: Repository, docker: Docker) -> DockerBuild:
    """The Dockerfile that is rendered from layerline.toml: a stage for each layer, and probes."""
    return DockerBuild(
        repository=repository,
        docker=docker,
        dockerfile=f"dockerfiles/{repository.image}.Dockerfile",
        write=dockerfiles.render,
    )


def plain(repository: Repository, docker: Docker) -> DockerBuild:
    """The Dockerfile that one writes by hand."""
    return DockerBuild(
        repository=repository,
        docker=docker,
        dockerfile=f"{dockerfiles.PLAIN}/Dockerfile",
        write=dockerfiles.write_plain,
    )
