"""Import images into the store: verify blobs, unpack each layer once, remember the original blobs.

The caller (a registry or an archive reader) passes the documents and a function that fetches blobs.
Nothing is unpacked before its size and digest are checked.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from layerline.engine.image import manifests, stream
from layerline.engine.image.config import ImageConfig
from layerline.engine.image.manifests import Descriptor, Manifest
from layerline.engine.image.pack import LayerBlob, find_packed, keep_original, original_of
from layerline.engine.image.sparse_layer import contents_linked
from layerline.engine.image.unpack import UnpackResult, inherit, limit_expansion, unpack
from layerline.engine.store.digest import Digest, digest_of
from layerline.engine.store.flatten import flatten
from layerline.errors import ArchiveInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from layerline.engine.image.reference import Reference
    from layerline.engine.store.promise import Promise
    from layerline.engine.store.store import Store

_PARALLEL_FETCHES = 3
_SMALL_LAYER = 1 << 16
RECEIVED = "packed-"
"""Begins the names of snapshots that another machine has packed."""

Fetch = Callable[[Descriptor], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image in the store. `layers` are its snapshots, bottom first; `blobs` their originals.

    `origin` says where it was found: "store", "registry", "bootstrap" or "archive".
    """

    config: ImageConfig
    layers: tuple[str, ...]
    diff_ids: tuple[Digest, ...]
    blobs: tuple[Descriptor, ...]
    reference: Reference | None = None
    annotations: tuple[tuple[str, str], ...] = ()
    origin: str


def import_image(
    store: Store,
    manifest: Manifest,
    config: Mapping[str, Any],
    fetch: Fetch,
    *,
    origin: str,
    verify: Fetch | None = None,
) -> Image:
    """Fetch and unpack the layers of an image; `fetch` puts a blob into the store or raises.

    `verify` is called instead for a blob that is in the store already, where the image comes with
    its blobs: those may be broken all the same.
    """
    diff_ids = manifests.check_config(config, manifest)
    parsed = ImageConfig.from_oci(config)
    layers: tuple[str, ...] = ()
    with ThreadPoolExecutor(_PARALLEL_FETCHES) as pool:
        fetching = {
            layer.digest: pool.submit(call, layer)
            for layer in manifest.layers
            if (call := verify if store.blobs.has(layer.digest) else fetch) is not None
        }
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
            if layer.digest in fetching:
                fetching[layer.digest].result()
            layers = (*layers, import_layer(store, layer, diff_id, below=layers))
    return Image(
        config=parsed,
        layers=layers,
        diff_ids=diff_ids,
        blobs=manifest.layers,
        annotations=manifest.annotations,
        origin=origin,
    )


def import_layer(
    store: Store, layer: Descriptor, diff_id: Digest, *, below: tuple[str, ...] = ()
) -> str:
    """Unpack a layer whose blob is in the store, and return the name of its snapshot.

    The name is derived from the blob. If the layer lacks the entry of a parent directory, its
    metadata comes from `below`, and the name depends on `below` as well. A layer that was packed
    here is not unpacked again: its files are linked.
    """
    plain = "layer-" + layer.digest.removeprefix("sha256:")
    above = f"{plain}.{digest_of(list(below))[:16]}"
    with store.locks.exclusive(f"unpack {layer.digest}"):
        for name in (plain, above):
            known = original_of(store, name) if store.snapshots.has(name) else None
            if known is not None:
                _check_known(known, layer)
                _check_diff_id(known.diff_id, diff_id, layer)
                return name
        name, blob = _unpack_as(store, layer, diff_id, below=below, plain=plain, above=above)
        keep_original(store, name, blob)
        return name


def fill_promised(store: Store, name: str, promise: Promise) -> None:
    """Unpack the layer of a promised snapshot, whose blob is in the store, under its own name."""
    layer = Descriptor(media_type=promise.media_type, digest=promise.digest, size=promise.size)
    if promise.contents is not None:
        _fill_sparse(store, name, promise, promise.contents)
        return
    whole = received_name(promise.digest) if promise.within else name
    with store.locks.exclusive(f"unpack {layer.digest}"):
        if not store.snapshots.is_here(whole):
            _unpack_as(store, layer, promise.diff_id, below=promise.below, plain=whole, above=whole)
        if promise.within and not store.snapshots.is_here(name):
            with store.snapshots.draft() as draft:
                flatten([_directory_in(store.snapshots.path(whole), promise.within)], draft.fs)
                draft.commit(name)


def _fill_sparse(store: Store, name: str, promise: Promise, contents: Promise) -> None:
    """Unpack a layer whose files are those of another one, both of whose blobs are in the store."""
    other = received_name(contents.digest)
    if not store.snapshots.is_here(other):
        fill_promised(store, other, contents)
    layer = Descriptor(media_type=promise.media_type, digest=promise.digest, size=promise.size)
    with store.locks.exclusive(f"unpack {name}"):
        if store.snapshots.is_here(name):
            return
        with store.snapshots.draft() as draft:
            with contents_linked(store.snapshots.path(other), draft.fs):
                blob, _ = _unpack(store, layer, draft.fs)
            _check_diff_id(blob.diff_id, promise.diff_id, layer)
            draft.commit(name)


def received_name(digest: Digest, within: str = "", contents: Digest | None = None) -> str:
    """The name of a snapshot that another machine has packed.

    That is a layer, a directory in it, or a layer whose files are the contents of another one.
    """
    part = within if contents is None else [contents]
    suffix = f".{digest_of(part)[:16]}" if part else ""
    return RECEIVED + digest.removeprefix("sha256:") + suffix


def _directory_in(layer: Path, within: str) -> Path:
    """A directory of a layer that no link leads to."""
    place = layer
    for name in within.split("/"):
        place /= name
        if name in ("", ".", "..") or not stat.S_ISDIR(place.lstat().st_mode):
            message = f"the layer has no directory {within!r}"
            raise ArchiveInvalid(message)
    return place


def _unpack_as(
    store: Store,
    layer: Descriptor,
    diff_id: Digest,
    *,
    below: tuple[str, ...],
    plain: str,
    above: str,
) -> tuple[str, LayerBlob]:
    """Unpack a layer under one of two names: the second if it depends on what is below it."""
    with store.snapshots.draft() as draft:
        blob, implied = _fill(store, layer, draft.fs)
        _check_diff_id(blob.diff_id, diff_id, layer)
        if implied:
            inherit(draft.fs, implied, store.tree(below))
        return draft.commit(above if implied else plain), blob


def _fill(store: Store, layer: Descriptor, target: Path) -> tuple[LayerBlob, tuple[bytes, ...]]:
    """Fill a directory with a layer; return the blob and the implied directories."""
    if (packed := find_packed(store, layer.digest)) is not None:
        snapshot, blob = packed
        _check_known(blob, layer)
        flatten([store.snapshots.path(snapshot)], target)
        return blob, ()
    blob, done = _unpack(store, layer, target)
    return blob, done.implied


def _unpack(store: Store, layer: Descriptor, target: Path) -> tuple[LayerBlob, UnpackResult]:
    size = store.blobs.size(layer.digest)
    _check_size(size, layer)
    compression = manifests.LAYER_TYPES[layer.media_type]
    hasher = stream.Hasher()
    with store.blobs.open(layer.digest) as source, store.blobs.open(layer.digest) as twin:
        again = partial(stream.decompress, twin, compression)
        chunks = stream.decompress(source, compression)
        plain = hasher.over(limit_expansion(chunks, size, again=again))
        with _ahead(plain, size) as ahead:
            done = unpack(ahead, target, packed=size)
    blob = LayerBlob(diff_id=hasher.digest, digest=layer.digest, size=size, compression=compression)
    return blob, done


def _ahead(chunks: Iterator[bytes], packed: int) -> AbstractContextManager[Iterator[bytes]]:
    """The chunks from a thread of their own, unless they are so few that it costs more."""
    return nullcontext(chunks) if packed <= _SMALL_LAYER else stream.ahead(lambda: chunks)


def _check_known(known: LayerBlob, layer: Descriptor) -> None:
    """Refuse a descriptor that says of a blob what was found to be otherwise."""
    _check_size(known.size, layer)
    if known.compression.stream is not manifests.LAYER_TYPES[layer.media_type]:
        message = (
            f"layer {layer.digest} is {known.compression.value}, "
            f"but {layer.media_type!r} was declared"
        )
        raise ArchiveInvalid(message)


def _check_size(size: int, layer: Descriptor) -> None:
    if size != layer.size:
        message = f"layer {layer.digest} has {size} bytes, but {layer.size} were declared"
        raise ArchiveInvalid(message)


def _check_diff_id(found: Digest, declared: Digest, layer: Descriptor) -> None:
    if found != declared:
        message = f"layer {layer.digest} unpacks to {found}, the image declares {declared}"
        raise ArchiveInvalid(message)
