"""Two machines: sessions over stores of their own, which share a registry."""

from __future__ import annotations

import contextlib
import shutil
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from layerline import command
from layerline.engine.api.session import Session, open_session
from layerline.log import Event, Journal
from layerline.settings import Settings
from tests.registry import serving
from tests.unit.conftest import ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

NOBODY = "docker.io=http://127.0.0.1:9"
HOST = "query ($path: String!) { host { directory(path: $path) { id } } }"


@dataclass(kw_only=True)
class Machine:
    """A machine with a store; `events` are of its last session."""

    home: Path
    cache: str
    mode: str = "read"
    environ: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    @property
    def store(self) -> Path:
        return self.home / "store"

    def settings(self) -> Settings:
        return Settings.from_environ(
            {
                "HOME": str(self.home),
                "LAYERLINE_STORE": str(self.store),
                "LAYERLINE_CACHE": self.cache,
                "LAYERLINE_CACHE_MODE": self.mode,
                "LAYERLINE_REGISTRY_MIRRORS": NOBODY,
                **self.environ,
            }
        )

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        self.events = []
        journal = Journal(listeners=[self.events.append])
        async with open_session(self.settings(), journal, workdir=self.home) as session:
            yield session

    async def run(self, rootfs: Path, query: str, **variables: object) -> Any:  # noqa: ANN401
        """The answer to a query that has `$root`, the directory that is a root file system."""
        async with self.session() as session:
            found = await ask(session, HOST, path=str(rootfs))
            root = found["host"]["directory"]["id"]
            return await ask(session, query, root=root, **variables)

    def add_source(self, text: str) -> None:
        """Give it a directory `src` with one file."""
        (self.home / "src").mkdir()
        (self.home / "src/a.txt").write_text(text)

    def configure(self, text: str) -> None:
        """Give it a settings file."""
        config = self.home / ".config/layerline/config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(text)

    def steps(self, status: str = "DONE") -> list[str]:
        """The names of the steps that ended in this way."""
        return [e.name for e in self.events if e.status is not None and e.status.value == status]

    def containers(self) -> list[str]:
        """The containers that ran."""
        return [name for name in self.steps() if name.startswith("withExec")]

    def warnings(self) -> list[str]:
        """What was said of the cache."""
        return [name for name in self.steps("CANCELED") if "cache" in name]

    def layers(self) -> int:
        """How many compressed layers are in the store."""
        return sum(map(is_layer, (self.store / "blobs").iterdir()))

    def unpacked(self) -> list[str]:
        """The snapshots whose files came from a layer."""
        found = [
            *self.store.glob("snapshots/layer-*/fs"),
            *self.store.glob("snapshots/packed-*/fs"),
        ]
        return sorted(place.parent.name for place in found)


def is_layer(blob: Path) -> bool:
    """Whether a blob is compressed by gzip or zstd."""
    return blob.read_bytes().startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd"))


@pytest.fixture(scope="session")
def registry_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the registry keeps what it is sent."""
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="session")
def registry(registry_place: Path) -> Iterator[str]:
    """The address of a registry; each test has a repository of its own in it."""
    with serving(registry_place) as address:
        yield address


@pytest.fixture
def registry_blobs(registry: str, registry_place: Path) -> Path:  # noqa: ARG001
    """The directory of the registry's blobs."""
    return registry_place / "blobs/docker/registry/v2/blobs/sha256"


@pytest.fixture
def cache(registry: str, tmp_path: Path) -> str:
    """A repository that nobody has written to."""
    return f"{registry}/cache/{tmp_path.name.lower().replace('_', '-')}"


@pytest.fixture
def machines(tmp_path: Path, cache: str) -> tuple[Machine, Machine]:
    """One that writes to the cache, and one that reads it."""
    first, second = tmp_path / "first", tmp_path / "second"
    for home in (first, second):
        home.mkdir()
    return Machine(home=first, cache=cache, mode="read,write"), Machine(home=second, cache=cache)


@pytest.fixture
def stalled() -> Iterator[str]:
    """A server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    """A root file system of one program, the same one for both machines."""
    program = command.find("busybox")
    if program is None:
        pytest.skip("busybox is not installed")
    place = tmp_path / "rootfs"
    for name in ("bin", "etc", "tmp"):
        (place / name).mkdir(parents=True)
    shutil.copy(program, place / "bin/busybox")
    for applet in ("sh", "cat", "echo", "seq", "tee", "base64"):
        (place / "bin" / applet).symlink_to("busybox")
    return place
