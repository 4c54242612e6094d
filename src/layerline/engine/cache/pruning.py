"""Removes records from the cache that nobody used for long, those that were used longest ago first.

The last use is what writers have seen: readers leave no trace. The registry frees the blobs that no
record or image has any more when it collects its garbage.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.engine.cache.artifact import config_in, sizes_in, used_in
from layerline.engine.cache.place import Place
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry.connections import Registries
from layerline.engine.store.digest import Digest, digest_bytes
from layerline.errors import ArchiveInvalid, ImageNotFound, RegistryUnreachable, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from layerline.settings import Settings

_PARALLEL = 8
_LISTING_SECONDS = 60.0
_PREFIX = "k-"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRecord:
    """A record as the registry has it. `sizes` are those of its blobs, by digest."""

    tag: str
    digest: Digest
    used: int
    sizes: Mapping[str, int]


def prune_cache(
    settings: Settings,
    *,
    keep_bytes: int | None = None,
    keep_seconds: float | None = None,
    dry_run: bool = False,
) -> tuple[int, int, int]:
    """Remove records of the first place; how many of how many, and the bytes that they alone had.

    Raises RegistryDenied where the registry allows no deletions.
    """
    if not settings.cache.places:
        message = "no cache is set: name one with --cache=HOST/REPOSITORY, or LAYERLINE_CACHE"
        raise UsageError(message)
    with Registries.open(settings) as registries:
        repository = registries.registry(Reference.parse(settings.cache.places[0]))
        place = Place(
            name=settings.cache.places[0],
            repository=repository,
            written=repository,
            report=lambda _: None,
            listing_seconds=_LISTING_SECONDS,
        )
        found = _records(place)
        chosen = choose(found, keep_bytes=keep_bytes, keep_seconds=keep_seconds, now=time.time())
        for record in chosen if not dry_run else ():
            repository.delete_manifest(record.digest)
    kept = {each.tag for each in found} - {each.tag for each in chosen}
    shared = {digest for each in found if each.tag in kept for digest in each.sizes}
    sizes = {digest: size for each in chosen for digest, size in each.sizes.items()}
    freed = sum(size for digest, size in sizes.items() if digest not in shared)
    return len(chosen), len(found), freed


def choose(
    found: Sequence[KeptRecord], *, keep_bytes: int | None, keep_seconds: float | None, now: float
) -> list[KeptRecord]:
    """The records to remove: unused for `keep_seconds`, until `keep_bytes` is reached."""
    uses = Counter(digest for each in found for digest in each.sizes)
    sizes = {digest: size for each in found for digest, size in each.sizes.items()}
    total = sum(sizes.values())
    chosen = []
    for record in sorted(found, key=lambda each: (each.used, each.tag)):
        if keep_seconds is not None and now - record.used < keep_seconds:
            break
        if keep_bytes is not None and total <= keep_bytes:
            break
        chosen.append(record)
        uses.subtract(record.sizes.keys())
        total -= sum(size for digest, size in record.sizes.items() if uses[digest] == 0)
    return chosen


def _records(place: Place) -> list[KeptRecord]:
    tags = place.tags()
    if tags is None:
        message = f"{place.name}: the registry does not list its tags: check the address and login"
        raise RegistryUnreachable(message)

    def read(tag: str) -> KeptRecord | None:
        with contextlib.suppress(ImageNotFound, ArchiveInvalid):  # gone, or none of ours
            data = place.manifest(tag)
            config_in(data)
            return KeptRecord(
                tag=tag, digest=digest_bytes(data), used=used_in(data), sizes=sizes_in(data)
            )
        return None

    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="cache-prune") as pool:
        wanted = sorted(tag for tag in tags if tag.startswith(_PREFIX))
        return [record for record in pool.map(read, wanted) if record is not None]
