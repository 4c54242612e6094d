"""A record becomes rows of the local index, and promises for what it names.

Layers get names that say their content, so a tree of another machine is never mixed with layers
that this machine has made of the same keys.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, cast

from layerline.engine.cache.rows import check_row
from layerline.engine.image.layer_import import RECEIVED, received_name
from layerline.engine.image.manifests import Compression
from layerline.engine.image.pack import (
    LayerBlob,
    Received,
    find_packed,
    keep_form,
    keep_original,
    keep_received,
)
from layerline.engine.store.promise import Promise
from layerline.errors import ArchiveInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from layerline.engine.cache.record import Record, SharedLayer
    from layerline.engine.cache.supply import RegistrySupplier
    from layerline.engine.store.index import Document
    from layerline.engine.store.store import Store

_BY_BLOB, _BY_TAR = "layer-", "base-"


def adopt_record(
    store: Store, supplier: RegistrySupplier, record: Record, epoch: int | None = None
) -> bool:
    """Take a record that was verified; whether it can be used here.

    `epoch` is that of the layers' times. Raises ArchiveInvalid for a record that contradicts
    itself.
    """
    check_row(record.table, record.row, [*record.layers, *record.needs])
    layers = (*record.layers.values(), *record.forms.values())
    wanted = [blob.digest for layer in layers for blob in layer.blobs]
    if any(supplier.is_lost(digest) for digest in (*wanted, *record.blobs)):
        return False
    documents = [_bytes(text) for text in record.documents]
    for digest, size in record.blobs.items():
        supplier.add(digest, size)
    names: dict[str, str] = {}
    for name, layer in record.layers.items():
        names[name] = _promise(store, supplier, name, layer, tuple(names.values()), epoch)
        if not store.snapshots.has(names[name]):
            return False
    for name, form in record.forms.items():
        if name in names and keeps_name(name):
            supplier.add(form.digest, form.size)
            keep_form(store, name, _blob(form))
    for data in documents:
        store.blobs.put(data)
    row = renamed(record.row, names)
    snapshots = sorted({*names.values(), *record.needs})
    if not all(map(store.snapshots.has, snapshots)):
        return False  # files of the other machine, a host directory's say, that are not sent
    store.index.put(record.table, record.key, row, snapshots=snapshots)
    return True


def keeps_name(name: str) -> bool:
    """Whether the name of a snapshot says what is in it."""
    return name.startswith((_BY_BLOB, _BY_TAR, RECEIVED))


def _promise(
    store: Store,
    supplier: RegistrySupplier,
    name: str,
    layer: SharedLayer,
    below: tuple[str, ...],
    epoch: int | None,
) -> str:
    """Have a layer fetched once it is needed; the name that it has here."""
    _check_name(name, layer)
    own = name if keeps_name(name) else _received_name(layer)
    for blob in layer.blobs:
        supplier.add(blob.digest, blob.size)
    if not store.snapshots.has(own):
        is_complete = not layer.within and layer.contents is None
        packed = find_packed(store, layer.digest) if is_complete else None
        if packed is not None and not keeps_name(name):
            return packed[0]
        store.snapshots.promise(own, _promise_of(layer, below))
        if own.startswith(RECEIVED):
            contents = None if layer.contents is None else _blob(layer.contents)
            received = Received(blob=_blob(layer), within=layer.within, contents=contents)
            keep_received(store, own, received, epoch=epoch)
        else:
            keep_original(store, own, _blob(layer))
    return own


def _promise_of(layer: SharedLayer, below: tuple[str, ...] = ()) -> Promise:
    return Promise(
        digest=layer.digest,
        size=layer.size,
        diff_id=layer.diff_id,
        media_type=layer.media_type,
        below=below,
        within=layer.within,
        contents=None if layer.contents is None else _promise_of(layer.contents),
    )


def _received_name(layer: SharedLayer) -> str:
    contents = None if layer.contents is None else layer.contents.digest
    return received_name(layer.digest, layer.within, contents)


def _blob(layer: SharedLayer) -> LayerBlob:
    return LayerBlob(
        diff_id=layer.diff_id,
        digest=layer.digest,
        size=layer.size,
        compression=Compression(layer.compression),
        annotations=layer.annotations,
        level=layer.level,
    )


def _check_name(name: str, layer: SharedLayer) -> None:
    """Refuse a name that claims another content than the layer has."""
    by_blob = name.partition(".")[0] == _BY_BLOB + layer.digest.removeprefix("sha256:")
    by_tar = name == _BY_TAR + layer.diff_id.removeprefix("sha256:")
    if name.startswith(RECEIVED):
        is_right = name == _received_name(layer)
    else:
        is_right = (by_blob or by_tar) and not layer.within and layer.contents is None
    if keeps_name(name) and not is_right:
        message = f"the layer {name} does not have the content of its name"
        raise ArchiveInvalid(message)


def renamed(row: Document, names: Mapping[str, str]) -> Document:
    """A row with the snapshots' names of this machine, wherever a row has any."""
    changed = dict(row)
    for member in ("layers", "mounts"):
        if member in row:
            changed[member] = _names(row[member], names)
    if "objects" in row:
        changed["objects"] = _stored(row["objects"], names)
    return changed


def _names(value: object, names: Mapping[str, str]) -> object:
    if isinstance(value, list):
        return [_names(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value


def _stored(document: object, names: Mapping[str, str]) -> object:
    """Documents of objects: the stored trees in them name snapshots, which are not in keys."""
    match document:
        case {"$": "Stored", "snapshots": snapshots}:
            return {**cast("dict[str, object]", document), "snapshots": _names(snapshots, names)}
        case dict():
            return {name: _stored(item, names) for name, item in document.items()}
        case list():
            return [_stored(item, names) for item in document]
        case _:
            return document


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as exc:
        message = "a document of the record is not base64"
        raise ArchiveInvalid(message) from exc
