"""Removes records from the cache that nobody used for long, those that were used longest ago first.

The last use is what writers have seen: readers leave no trace, so what an image is made of that is
kept stays. The registry frees the blobs that no record or image has any more when it collects its
garbage.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.engine.cache.artifact import sizes_in, used_in
from layerline.engine.cache.envelope import parse_envelope
from layerline.engine.cache.lease_tag import PREFIX as LEASE_PREFIX
from layerline.engine.cache.lease_tag import is_abandoned
from layerline.engine.cache.place import Place
from layerline.engine.cache.record import parse_record
from layerline.engine.image.manifests import INDEX_TYPES, parse_index, parse_json, parse_manifest
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry.connections import Registries
from layerline.engine.store.digest import Digest, digest_bytes
from layerline.errors import ArchiveInvalid, ImageNotFound, RegistryUnreachable, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from layerline.engine.image.registry.repository import Repository
    from layerline.settings import Settings

_PARALLEL = 8
_LISTING_SECONDS = 60.0
_PREFIX = "k-"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRecord:
    """A record as the registry has it. `sizes` are those of its blobs, by digest.

    `diff_ids` are those of its layers.
    """

    tag: str
    digest: Digest
    used: int
    sizes: Mapping[str, int]
    diff_ids: frozenset[str] = frozenset()


def prune_cache(
    settings: Settings,
    *,
    keep_bytes: int | None = None,
    keep_seconds: float | None = None,
    keep_images: Sequence[str] = (),
    dry_run: bool = False,
) -> tuple[int, int, int]:
    """Remove records of the first place; how many of how many, and the bytes that they alone had.

    What is in `keep_images` stays; a name without a tag is that of all images of the repository.
    Leases that nobody holds go, too. Raises RegistryDenied where the registry allows no deletions,
    and ImageNotFound for an image that does not exist.
    """
    if not settings.cache.places:
        message = "no cache is set: name one with --cache=HOST/REPOSITORY, or LAYERLINE_CACHE"
        raise UsageError(message)
    with Registries.open(settings) as registries:
        place = _place(registries.registry(Reference.parse(settings.cache.places[0])))
        layers = layers_of_images(registries, keep_images)
        found = _records(place)
        free = [each for each in found if not (each.diff_ids and each.diff_ids <= layers)]
        stay = [each for each in found if each not in free]
        chosen = choose(
            free, stay, keep_bytes=keep_bytes, keep_seconds=keep_seconds, now=time.time()
        )
        for digest in [each.digest for each in chosen] if not dry_run else ():
            place.repository.delete_manifest(digest)
        if not dry_run:
            _remove_leases(place)
    kept = {each.tag for each in found} - {each.tag for each in chosen}
    shared = {digest for each in found if each.tag in kept for digest in each.sizes}
    sizes = {digest: size for each in chosen for digest, size in each.sizes.items()}
    freed = sum(size for digest, size in sizes.items() if digest not in shared)
    return len(chosen), len(found), freed


def choose(
    found: Sequence[KeptRecord],
    stay: Sequence[KeptRecord] = (),
    *,
    keep_bytes: int | None,
    keep_seconds: float | None,
    now: float,
) -> list[KeptRecord]:
    """The records to remove: unused for `keep_seconds`, until `keep_bytes` is reached.

    Those that `stay` count for the size.
    """
    uses = Counter(digest for each in (*found, *stay) for digest in each.sizes)
    sizes = {digest: size for each in (*found, *stay) for digest, size in each.sizes.items()}
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


def layers_of_images(registries: Registries, names: Sequence[str]) -> frozenset[str]:
    """The diff ids of all layers of images. Raises ImageNotFound."""
    found: set[str] = set()
    for name in names:
        reference = Reference.parse(name)
        repository = registries.registry(reference)
        which = reference.digest or reference.tag
        for tag in _tags(_place(repository)) if which is None else ():
            with contextlib.suppress(ArchiveInvalid, ImageNotFound):  # signatures, or gone
                found |= _diff_ids(repository, tag)
        if which is not None:
            found |= _diff_ids(repository, which)
    return frozenset(found)


def _place(repository: Repository) -> Place:
    reference = repository.reference
    return Place(
        name=f"{reference.registry}/{reference.repository}",
        repository=repository,
        written=repository,
        report=lambda _: None,
        listing_seconds=_LISTING_SECONDS,
    )


def _diff_ids(repository: Repository, which: str) -> frozenset[str]:
    """The diff ids of an image, of all its platforms."""
    raw = repository.manifest(which)
    if raw.descriptor.media_type in INDEX_TYPES:
        images = parse_index(raw.data, raw.descriptor.media_type).manifests
        return frozenset[str]().union(*(_diff_ids(repository, each.digest) for each in images))
    config = parse_manifest(raw.data, raw.descriptor.media_type).config
    root = parse_json(repository.document(config), "configuration").get("rootfs")
    found = root.get("diff_ids") if isinstance(root, dict) else None
    return frozenset(map(str, found)) if isinstance(found, list) else frozenset()


def _records(place: Place) -> list[KeptRecord]:
    def read(tag: str) -> KeptRecord | None:
        with contextlib.suppress(ImageNotFound, ArchiveInvalid):  # gone, or none of ours
            data = place.manifest(tag)
            envelope = place.envelope_in(data)
            return KeptRecord(
                tag=tag,
                digest=digest_bytes(data),
                used=used_in(data),
                sizes=sizes_in(data),
                diff_ids=_layers_in(envelope),
            )
        return None

    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="cache-prune") as pool:
        wanted = [tag for tag in _tags(place) if tag.startswith(_PREFIX)]
        return [record for record in pool.map(read, wanted) if record is not None]


def _layers_in(envelope: bytes) -> frozenset[str]:
    """The diff ids of a record's layers; none of one that nobody could take."""
    with contextlib.suppress(ArchiveInvalid):
        layers = parse_record(parse_envelope(envelope).payload).layers
        return frozenset(layer.diff_id for layer in layers.values())
    return frozenset()


def _remove_leases(place: Place) -> None:
    """Remove the leases that were given back, or whose holders have died long ago."""
    for tag in _tags(place):
        if not tag.startswith(LEASE_PREFIX):
            continue
        with contextlib.suppress(ImageNotFound, ArchiveInvalid):
            data = place.manifest(tag)
            if is_abandoned(data, time.time()):
                place.repository.delete_manifest(digest_bytes(data))


def _tags(place: Place) -> list[str]:
    tags = place.tags()
    if tags is None:
        why = str(place.failure or "the registry does not list its tags; check the address")
        message = f"cannot prune the cache {place.name}: {why}"
        raise RegistryUnreachable(message)
    return sorted(tags)
