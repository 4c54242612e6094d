"""`EngineCache.prune`, whose arguments are those of core/schema/engine.go at v0.21.8."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerline.storage import Amount, Storage
from tests.unit.conftest import ask, fail

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import OpenSession

PRUNE = "{ engine { localCache { prune } } }"


def make(name: str) -> str:
    inner = f'withNewFile(path: "f", contents: "{name}")'
    return f'{{ directory {{ {inner} {{ file(path: "f") {{ size }} sync }} }} }}'


def layers(store: Path) -> set[str]:
    return {place.name for place in (store / "snapshots").iterdir()}


async def test_what_the_session_did_not_use_goes_when_it_ends(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    async with open_a_session() as session:
        await ask(session, make("old"))
    old = layers(store)
    assert old
    async with open_a_session() as session:
        await ask(session, make("new"))
        assert await ask(session, PRUNE) == {"engine": {"localCache": {"prune": None}}}
    assert layers(store)
    assert not layers(store) & old


async def test_nothing_goes_while_another_session_is_open(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    async with open_a_session() as other:
        await ask(other, make("old"))
        async with open_a_session() as session:
            await ask(session, PRUNE)
        assert layers(tmp_path / "store")


NONE = Amount()


@pytest.mark.parametrize(
    ("arguments", "keep", "min_free", "reserved"),
    [
        ('maxUsedSpace: "1GB"', Amount(bytes=10**9), NONE, NONE),
        ('reservedSpace: "1MB"', NONE, NONE, Amount(bytes=10**6)),
        ('minFreeSpace: "20%"', Amount(bytes=1 << 62), Amount(percent=20), NONE),
    ],
)
async def test_limits(
    open_a_session: OpenSession, arguments: str, keep: Amount, min_free: Amount, reserved: Amount
) -> None:
    async with open_a_session() as session:
        await ask(session, f"{{ engine {{ localCache {{ prune({arguments}) }} }} }}")
        chosen, session.pruning = session.pruning, None
    assert chosen == Storage(keep=keep, min_free=min_free, reserved=reserved)


async def test_the_default_policy_is_the_users(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        query = '{ engine { localCache { prune(useDefaultPolicy: true, targetSpace: "1GB") } } }'
        await ask(session, query)
        chosen, session.pruning = session.pruning, None
    assert chosen == Storage(target=Amount(bytes=10**9))


async def test_a_size_that_is_none(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        error = await fail(session, '{ engine { localCache { prune(maxUsedSpace: "x") } } }')
    assert error["message"].startswith("invalid maxUsedSpace: ")


def test_the_target_counts_once_something_has_to_go() -> None:
    storage = Storage(
        keep=Amount(bytes=100), min_free=Amount(), reserved=Amount(), target=Amount(bytes=40)
    )
    assert storage.limit(disk=1000, free=500, used=101) == 40
    assert storage.limit(disk=1000, free=500, used=100) == 100
