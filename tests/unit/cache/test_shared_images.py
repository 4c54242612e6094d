"""The base of one machine is the base of another: its digest, its documents and its layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cache.conftest import Machine

pytestmark = [pytest.mark.usefixtures("overlay")]

MADE = """query ($root: ID!) { container { withRootfs(directory: $root) {
  withEnvVariable(name: "BASE", value: "yes") { publish(address: "%s") }
} } }"""
FROM = """query ($root: ID!) {
  directory { withDirectory(path: "/", source: $root) { id } }
  container { from(address: "%s") { imageRef envVariable(name: "BASE") %s } }
}"""


@pytest.fixture
async def base(machines: tuple[Machine, Machine], rootfs: Path, registry: str) -> str:
    """An image that only the first machine can pull."""
    first, _ = machines
    name = f"base-{first.home.parent.name.lower().replace('_', '-')}"
    await first.run(rootfs, MADE % f"{registry}/library/{name}:1")
    first.home = first.home.with_name("puller")
    first.home.mkdir()
    first.environ["LAYERLINE_REGISTRY_MIRRORS"] = f"docker.io=http://{registry}"
    return f"{name}:1"


async def test_a_tag_has_the_digest_of_the_machine_that_could_ask(
    machines: tuple[Machine, Machine], base: str, rootfs: Path
) -> None:
    first, second = machines
    made = await first.run(rootfs, FROM % (base, ""))
    assert made["container"]["from"]["envVariable"] == "yes"
    assert (await second.run(rootfs, FROM % (base, "")))["container"] == made["container"]
    assert second.layers() == 0


async def test_the_files_of_a_base_come_from_the_cache(
    machines: tuple[Machine, Machine], base: str, rootfs: Path
) -> None:
    first, second = machines
    await first.run(rootfs, FROM % (base, ""))
    asked = FROM % (base, 'file(path: "/bin/busybox") { size }')
    found = await second.run(rootfs, asked)
    assert found["container"]["from"]["file"]["size"] == (rootfs / "bin/busybox").stat().st_size
    assert second.layers() == 1


@pytest.mark.parametrize("form", ["Zstd", "Gzip"])
async def test_a_base_is_published_without_its_files(
    machines: tuple[Machine, Machine], base: str, rootfs: Path, registry: str, form: str
) -> None:
    first, second = machines
    place = f"{registry}/images/{base.partition(':')[0]}"
    publish = f'publish(address: "{place}/%s:1", forcedCompression: {form})'
    made = await first.run(rootfs, FROM % (base, ""))
    made = await first.run(rootfs, FROM % (base, publish % "one"))
    again = await second.run(rootfs, FROM % (base, publish % "two"))
    references = [each["container"]["from"]["publish"] for each in (made, again)]
    assert len({reference.partition("@")[2] for reference in references}) == 1
    assert second.layers() == 0
