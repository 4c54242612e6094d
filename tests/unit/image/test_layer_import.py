"""Layers are imported into the store once each, and in the right place."""

from __future__ import annotations

import hashlib
import stat
from typing import TYPE_CHECKING

import pytest

from layerline.engine.image import tarwriter
from layerline.engine.image.layer_import import import_layer
from layerline.engine.image.manifests import FAMILIES, Compression, Descriptor, MediaTypes
from layerline.engine.image.pack import layer_blob
from layerline.engine.store.digest import Digest
from layerline.errors import ArchiveInvalid
from tests.unit.image.conftest import folder, member

if TYPE_CHECKING:
    from layerline.engine.store.store import Store

GZIP = FAMILIES[MediaTypes.OCI].layers[Compression.GZIP]
PLAIN = FAMILIES[MediaTypes.OCI].layers[Compression.UNCOMPRESSED]


def put_layer(store: Store, *pieces: bytes) -> tuple[Descriptor, Digest]:
    data = b"".join((*pieces, tarwriter.END))
    blob = store.blobs.put(data)
    digest = Digest("sha256:" + hashlib.sha256(data).hexdigest())
    return Descriptor(media_type=PLAIN, digest=blob.digest, size=blob.size), digest


def test_a_layer_is_unpacked_once(store: Store) -> None:
    layer, diff_id = put_layer(store, member("f", b"x"))
    name = import_layer(store, layer, diff_id)
    moment = store.snapshots.path(name).stat().st_ctime_ns
    assert import_layer(store, layer, diff_id, below=(name,)) == name
    assert store.snapshots.path(name).stat().st_ctime_ns == moment


def test_a_layer_that_was_packed_here_is_not_unpacked(store: Store) -> None:
    with store.snapshots.draft() as draft:
        (draft.fs / "f").write_text("x")
        name = draft.commit("made-here")
    packed = layer_blob(store, name)
    layer = Descriptor(media_type=GZIP, digest=packed.digest, size=packed.size)
    taken = store.snapshots.path(import_layer(store, layer, packed.diff_id))
    assert (taken / "f").samefile(store.snapshots.path(name) / "f")
    with pytest.raises(ArchiveInvalid, match="unpacks to"):
        import_layer(store, layer, Digest("sha256:" + "0" * 64))


def test_a_layer_whose_times_were_lowered_is_unpacked(store: Store) -> None:
    with store.snapshots.draft() as draft:
        (draft.fs / "f").write_text("x")
        name = draft.commit("made-here")
    packed = layer_blob(store, name, epoch=1)
    layer = Descriptor(media_type=GZIP, digest=packed.digest, size=packed.size)
    taken = import_layer(store, layer, packed.diff_id)
    assert int((store.snapshots.path(taken) / "f").stat().st_mtime) == 1


def test_directories_that_a_layer_does_not_name_are_those_below(store: Store) -> None:
    base, base_id = put_layer(store, folder("tmp", mode=0o1777))
    other, other_id = put_layer(store, folder("tmp", mode=0o700))
    layer, diff_id = put_layer(store, member("tmp/f", b"x"))
    below = (import_layer(store, base, base_id),)
    sibling = (import_layer(store, other, other_id),)
    names = {
        0o755: import_layer(store, layer, diff_id),
        0o1777: import_layer(store, layer, diff_id, below=below),
        0o700: import_layer(store, layer, diff_id, below=sibling),
    }
    assert len(set(names.values())) == 3
    for mode, name in names.items():
        place = store.snapshots.path(name) / "tmp"
        assert stat.S_IMODE(place.stat().st_mode) == mode
    assert store.tree((*below, names[0o1777])).lookup("/tmp").mode == 0o1777


def test_another_diff_id_for_a_known_layer_is_refused(store: Store) -> None:
    layer, diff_id = put_layer(store, member("f", b"x"))
    import_layer(store, layer, diff_id)
    with pytest.raises(ArchiveInvalid, match="unpacks to"):
        import_layer(store, layer, Digest("sha256:" + "0" * 64))
