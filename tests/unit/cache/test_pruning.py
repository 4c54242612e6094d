"""Records that nobody used go, those that were used longest ago first; what is shared stays."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest

from layerline.cli.commands.cache import cache as cache_command
from layerline.cli.console import Console
from layerline.cli.options import Options
from layerline.engine.cache.artifact import MANIFEST, used_in, used_now
from layerline.engine.cache.envelope import Envelope
from layerline.engine.cache.lease import Lease, parse_lease
from layerline.engine.cache.lease_tag import LeaseTags
from layerline.engine.cache.pruning import KeptRecord, choose, prune_cache
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry.connections import Registries
from layerline.engine.store.digest import Digest
from layerline.errors import ImageNotFound, UsageError
from layerline.settings import Settings
from tests.unit.cache.test_shared_calls import call
from tests.unit.cache.test_shared_steps import UUID

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cache.conftest import Machine

DAY = 24 * 3600


def record(tag: str, used: int, **sizes: int) -> KeptRecord:
    return KeptRecord(tag=tag, digest=Digest(f"sha256:{tag}"), used=used, sizes=sizes)


FOUND = (record("new", 300, own=10, base=100), record("old", 100, base=100, big=50))


@pytest.mark.parametrize(
    ("keep_bytes", "keep_seconds", "expected"),
    [
        (None, 250, ["old"]),
        (None, 1000, []),
        (160, None, []),
        (159, None, ["old"]),  # its own 50 are free then: the base is the other's, too
        (110, None, ["old"]),
        (109, None, ["old", "new"]),
        (0, 250, ["old"]),
    ],
)
def test_the_least_recently_used_goes_first(
    keep_bytes: int | None, keep_seconds: float | None, expected: list[str]
) -> None:
    chosen = choose(FOUND, keep_bytes=keep_bytes, keep_seconds=keep_seconds, now=400)
    assert [each.tag for each in chosen] == expected


def manifests(machine: Machine) -> dict[str, bytes]:
    """The manifests of a machine's cache, by tag."""
    host, _, repository = machine.cache.partition("/")
    base = f"http://{host}/v2/{repository}"
    tags = httpx.get(f"{base}/tags/list").json().get("tags") or []
    accept = {"Accept": MANIFEST}
    return {tag: httpx.get(f"{base}/manifests/{tag}", headers=accept).content for tag in tags}


def age(machine: Machine, tag: str, manifest: bytes, days: int) -> None:
    """Let a record be used for the last time some days ago."""
    host, _, repository = machine.cache.partition("/")
    data = used_now(manifest, int(time.time()) - days * DAY)
    url = f"http://{host}/v2/{repository}/manifests/{tag}"
    httpx.put(url, content=data, headers={"Content-Type": MANIFEST}).raise_for_status()


async def test_what_is_old_is_removed_and_what_writers_use_is_not_old(
    machines: tuple[Machine, Machine],
) -> None:
    first, second = machines
    async with first.session() as session:
        await call(session, "kept", {"name": "kept"})
        await call(session, "old", {"name": "old"})
    for tag, manifest in manifests(first).items():
        age(first, tag, manifest, days=40)
    second.mode = "read,write"
    async with second.session() as session:
        assert await call(session, "not this", {"name": "kept"}) == ("kept", 0)
    dates = sorted(used_in(manifest) for manifest in manifests(first).values())
    assert [date > time.time() - DAY for date in dates] == [False, True]
    assert prune_cache(first.settings(), keep_seconds=30 * DAY, dry_run=True)[:2] == (1, 2)
    assert prune_cache(first.settings(), keep_seconds=30 * DAY)[:2] == (1, 2)
    third = first.home.with_name("third")
    third.mkdir()
    second.home = third
    async with second.session() as session:
        assert await call(session, "not this", {"name": "kept"}) == ("kept", 0)
        assert await call(session, "ran here", {"name": "old"}) == ("ran here", 1)


PUBLISHED = """query ($root: ID!, $address: String!) { container { withRootfs(directory: $root) {
  withExec(%s) { withExec(args: ["sh", "-c", "echo more > /more; seq 20000"]) {
    publish(address: $address)
} } } } }"""


@pytest.mark.privileged
@pytest.mark.usefixtures("overlay")
async def test_what_a_kept_image_is_made_of_stays(
    machines: tuple[Machine, Machine], rootfs: Path
) -> None:
    first, second = machines
    host, _, repository = first.cache.partition("/")
    image = f"{host}/{repository.replace('cache', 'images', 1)}"
    for tag, script in (("main", UUID), ("old", 'args: ["echo", "other"]')):
        await first.run(rootfs, PUBLISHED % script, address=f"{image}:{tag}")
    before = len(manifests(first))
    with pytest.raises(ImageNotFound):
        prune_cache(first.settings(), keep_bytes=0, keep_images=[f"{image}:none"])
    assert prune_cache(first.settings(), keep_bytes=0, keep_images=[image], dry_run=True)[0] == 0
    removed, found, _ = prune_cache(first.settings(), keep_bytes=0, keep_images=[f"{image}:main"])
    assert (found, 0 < removed < found) == (before, True)
    await second.run(rootfs, PUBLISHED % UUID, address=f"{image}:again")
    assert second.containers() == []
    third = replace(second, home=first.home.with_name("third"))
    third.home.mkdir()
    await third.run(rootfs, PUBLISHED % 'args: ["echo", "other"]', address=f"{image}:again")
    assert len(third.containers()) == 2


async def test_leases_of_the_dead_go(machines: tuple[Machine, Machine]) -> None:
    first, _ = machines
    repository = first.cache.partition("/")[2]
    now = int(time.time())
    living = Lease(tag="k-1", repository=repository, holder="a", seconds=15, made=now)
    settings = first.settings()
    with Registries.open(settings) as registries:
        tags = LeaseTags(
            repository=registries.registry(Reference.parse(first.cache)),
            seal=lambda payload, kind: Envelope(payload=payload, kind=kind).encode(),
            verify=lambda envelope: parse_lease(envelope.payload),
            distrust=lambda _: None,
        )
        for lease in (
            living,
            replace(living, tag="k-2", is_released=True),
            replace(living, tag="k-3", made=now - 2 * DAY),
        ):
            while not tags.write(lease):
                pass
    assert sorted(manifests(first)) == ["l-1", "l-2", "l-3"]
    prune_cache(settings, keep_bytes=0)
    assert sorted(manifests(first)) == ["l-1"]


def test_without_a_cache_nothing_is_pruned(machines: tuple[Machine, Machine]) -> None:
    machines[0].cache = ""
    with pytest.raises(UsageError, match="no cache is set"):
        prune_cache(machines[0].settings(), keep_seconds=0)


async def test_the_command_says_what_it_removes(
    machines: tuple[Machine, Machine], capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = machines
    async with first.session() as session:
        await call(session, "old", {})
    console = Console(
        program="layerline", argv=[], options=Options.scan([]), settings=Settings.from_environ({})
    )
    words = [f"--cache={first.cache}", "--keep-storage=0"]
    assert cache_command(console, ["prune", *words, "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("would remove 1 of 1 results; ")
    assert cache_command(console, ["prune", *words]) == 0
    assert capsys.readouterr().out.startswith("removed 1 of 1 results; ")
    assert manifests(first) == {}
    with pytest.raises(UsageError, match="--keep-duration=30d"):
        cache_command(console, ["prune", words[0]])
