"""The engine and what its store holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from layerline.engine.api.fields import field
from layerline.engine.api.objects import Query, Value
from layerline.engine.solve.keys import register
from layerline.engine.store.usage import Sizes
from layerline.errors import QueryError
from layerline.storage import Amount, Storage, parse_amount

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layerline.engine.api.session import Call

_KINDS = {"snapshots": "regular", "blobs": "regular", "volumes": "exec.cachemount"}
_EVERYTHING = Amount(bytes=1 << 62)


@register("Engine")
@dataclass(frozen=True, kw_only=True)
class Engine(Value):
    """The engine that answers."""

    typename: ClassVar[str] = "Engine"
    name: str = "layerline"


@register("EngineCache")
@dataclass(frozen=True, kw_only=True)
class EngineCache(Value):
    """The store; it is not pruned by itself, so all its limits are 0."""

    typename: ClassVar[str] = "EngineCache"
    max_used_space: int = 0
    min_free_space: int = 0
    reserved_space: int = 0
    target_space: int = 0


@register("EngineCacheEntry")
@dataclass(frozen=True, kw_only=True)
class EngineCacheEntry(Value):
    """One thing in the store. Times are in nanoseconds since the epoch."""

    typename: ClassVar[str] = "EngineCacheEntry"
    description: str
    disk_space_bytes: int
    created_time_unix_nano: int
    most_recent_use_time_unix_nano: int
    record_type: str
    record_types: tuple[str, ...]
    actively_used: bool = False
    dagql_call: str = ""


@register("EngineCacheEntrySet")
@dataclass(frozen=True, kw_only=True)
class EngineCacheEntrySet(Value):
    """What the store held at one moment."""

    typename: ClassVar[str] = "EngineCacheEntrySet"
    entries: tuple[EngineCacheEntry, ...]
    entry_count: int
    disk_space_bytes: int


@field("Query", "engine")
def engine(_self: Query, _call: Call) -> Engine:
    """The engine that answers."""
    return Engine()


@field("Engine", "clients")
def clients(_self: Engine, call: Call) -> list[str]:
    """The main client and the function calls under way, by their namespaces."""
    return [client.namespace for client in call.session.clients.values()]


@field("Engine", "localCache")
def local_cache(_self: Engine, call: Call) -> EngineCache:
    """The store."""
    _require_main_client(call)
    return EngineCache()


@field("EngineCache", "entrySet")
async def entry_set(_self: EngineCache, call: Call, **_key: str) -> EngineCacheEntrySet:
    """What the store holds now; bytes that entries share are counted in the first of them."""

    def look() -> tuple[EngineCacheEntry, ...]:
        return tuple(_entries(call.session.store.root))

    entries = await call.session.solver.in_thread(look)
    return EngineCacheEntrySet(
        entries=entries,
        entry_count=len(entries),
        disk_space_bytes=sum(entry.disk_space_bytes for entry in entries),
    )


@field(
    "EngineCache",
    "prune",
    differs="when the session ends, if no other one is open; cache volumes stay",
)
def prune(
    _self: EngineCache,
    call: Call,
    *,
    use_default_policy: bool = False,
    max_used_space: str = "",
    reserved_space: str = "",
    min_free_space: str = "",
    target_space: str = "",
) -> None:
    """Remove what no session uses: all of it, or what the policy and the limits say."""
    _require_main_client(call)
    default = call.session.settings.storage if use_default_policy else None
    kept = (default.keep or Storage().keep) if default else None
    if kept is None:
        kept = _EVERYTHING if min_free_space or target_space else Amount()
    policy = default or Storage(min_free=Amount(), reserved=Amount())
    call.session.pruning = replace(
        policy,
        keep=_amount("maxUsedSpace", max_used_space, kept),
        reserved=_amount("reservedSpace", reserved_space, policy.reserved),
        min_free=_amount("minFreeSpace", min_free_space, policy.min_free),
        target=_amount("targetSpace", target_space, policy.target),
    )


def _require_main_client(call: Call) -> None:
    if not call.client.reaches_host:
        message = "only the main client can access the local cache of the engine"
        raise QueryError(message)


def _amount(argument: str, text: str, default: Amount) -> Amount:
    try:
        return parse_amount(text) if text else default
    except ValueError as exc:
        message = f"invalid {argument}: {exc}, or a share, e.g. 50%"
        raise QueryError(message) from exc


def _entries(root: Path) -> Iterator[EngineCacheEntry]:
    sizes = Sizes()
    for kind, record_type in _KINDS.items():
        for place in sorted((root / kind).iterdir()):
            info = place.lstat()
            yield EngineCacheEntry(
                description=f"{kind.removesuffix('s')} {place.name}",
                disk_space_bytes=sizes.of(place),
                created_time_unix_nano=info.st_ctime_ns,
                most_recent_use_time_unix_nano=info.st_atime_ns,
                record_type=record_type,
                record_types=(record_type,),
            )
