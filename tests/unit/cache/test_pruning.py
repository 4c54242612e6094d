"""Records that nobody used go, those that were used longest ago first; what is shared stays."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx
import pytest

from layerline.cli.commands.cache import cache as cache_command
from layerline.cli.console import Console
from layerline.cli.options import Options
from layerline.engine.cache.artifact import MANIFEST, used_in, used_now
from layerline.engine.cache.pruning import KeptRecord, choose, prune_cache
from layerline.engine.store.digest import Digest
from layerline.errors import UsageError
from layerline.settings import Settings
from tests.unit.cache.test_shared_calls import call

if TYPE_CHECKING:
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
