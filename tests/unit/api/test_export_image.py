"""`exportImage` into Debian's docker and podman: what travels, what is named, and the way out."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from layerline.engine.api.session import open_session
from layerline.log import Journal
from layerline.settings import Settings
from tests.docker import Docker, daemon
from tests.podman import podman
from tests.unit.conftest import ask

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.podman import Podman

pytestmark = [pytest.mark.usefixtures("root"), pytest.mark.privileged]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """A store, and the environment in which a container program is found."""

    place: Path
    environ: Mapping[str, str]

    async def load(self, *layers: str) -> str:
        """Load an image of such layers as `sample:1`; what was said about it."""
        return await self._ask('exportImage(name: "sample:1")', layers)

    async def archived_id(self, *layers: str) -> str:
        """The id of the same image in an archive: the digest of its configuration."""
        await self._ask('export(path: "image.tar")', layers)
        with tarfile.open(self.place / "image.tar") as file:
            entry = file.extractfile("manifest.json")
            assert entry is not None
            return "sha256:" + str(json.load(entry)[0]["Config"]).rpartition("/")[2]

    async def _ask(self, query: str, layers: tuple[str, ...]) -> str:
        for number, text in reversed(list(enumerate(layers))):
            query = f'withNewFile(path: "/{number}", contents: "{text}") {{ {query} }}'
        said: list[bytes] = []
        journal = Journal(listeners=[lambda event: said.append(event.output or b"")])
        own = {"HOME": str(self.place), "LAYERLINE_STORE": str(self.place / "store")}
        settings = Settings.from_environ({**self.environ, **own})
        async with open_session(settings, journal, workdir=self.place) as session:
            await ask(session, f"{{ container {{ {query} }} }}")
        return b"".join(said).decode()


def exporter(place: Path, docker: Docker) -> Exporter:
    path = f"{docker.program.parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    environ = {"DOCKER_HOST": docker.environ["DOCKER_HOST"], "PATH": path}
    return Exporter(place=place, environ=environ)


async def test_docker_pulls_the_layers_that_it_lacks(tmp_path: Path) -> None:
    with daemon(tmp_path) as docker:
        engine = exporter(tmp_path, docker)
        first = await engine.load("one", "two")
        assert "loaded into docker as docker.io/library/sample:1: 2 of 2 layers pulled" in first
        assert image_ids(docker) == {"sample:1": await engine.archived_id("one", "two")}
        assert "1 of 2 layers pulled" in await engine.load("one", "other")
        assert image_ids(docker) == {"sample:1": await engine.archived_id("one", "other")}
        # Docker names a layer by all that lie below it (chain ids): what lies above travels too.
        assert "2 of 2 layers pulled" in await engine.load("new", "two")
        # The archive has compressed the layers since.
        assert "0 of 2 layers pulled" in await engine.load("one", "other")


async def test_podman_pulls_the_layers_that_it_lacks(tmp_path: Path) -> None:
    with podman(tmp_path) as program:
        engine = Exporter(place=tmp_path, environ=program.environ)
        first = await engine.load("one", "two")
        assert "loaded into podman as docker.io/library/sample:1: 2 of 2 layers pulled" in first
        name = "docker.io/library/sample:1"
        assert image_ids(program) == {name: await engine.archived_id("one", "two")}
        # Podman looks a layer up by what it has in it alone.
        assert "1 of 2 layers pulled" in await engine.load("new", "two")
        assert set(image_ids(program)) == {name}


async def test_a_daemon_with_another_loopback_gets_an_archive(tmp_path: Path) -> None:
    """As rootless docker, which has a network of its own, and Docker Desktop's virtual machine."""
    with daemon(tmp_path, own_network=True) as docker:
        engine = exporter(tmp_path, docker)
        said = await engine.load("one", "two")
        assert image_ids(docker) == {"sample:1": await engine.archived_id("one", "two")}
    line = "docker cannot pull, loading an archive: "
    assert f"{line}its daemon does not reach the loopback interface of this machine\n" in said


def image_ids(program: Docker | Podman) -> dict[str, str]:
    """The ids of the images that have a name."""
    form = "{{.Repository}}:{{.Tag}} {{.ID}}"
    lines = program.run("image", "ls", "--no-trunc", "--format", form).decode().splitlines()
    return {name: found for name, found in map(str.split, lines) if name != "<none>:<none>"}
