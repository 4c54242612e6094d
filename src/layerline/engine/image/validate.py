"""Check a complete image layout or archive, exported here or by another tool.

Everything reachable is read: documents, sizes, digests, media types, each layer down to its tar.
This refuses some broken layouts that the usual tools accept.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from layerline.engine.image import archive_source as files
from layerline.engine.image import manifests, stream
from layerline.engine.image.archive_reader import check_version, top_level
from layerline.engine.image.archive_source import ArchiveSource, DirectorySource, Source
from layerline.engine.image.config import ImageConfig
from layerline.engine.image.tarreader import Reader
from layerline.engine.image.unpack import DEFAULT_LIMITS, limit_expansion
from layerline.errors import ArchiveInvalid

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.image.manifests import Descriptor, Manifest
    from layerline.engine.store.digest import Digest


def validate(path: Path, *, scratch: Path) -> int:
    """Check an archive or a layout directory; return the number of images in it.

    Raises ArchiveInvalid.
    """
    if path.is_dir():
        return _validate(DirectorySource(path))
    with ArchiveSource.from_file(path, scratch) as source:
        return _validate(source)


def _validate(source: Source) -> int:
    check_version(source)
    found = top_level(source)
    if not found:
        message = "the index of the layout lists no image"
        raise ArchiveInvalid(message)
    return sum(_check(source, descriptor, manifests.DEEPEST_INDEX) for descriptor in found)


def _check(source: Source, descriptor: Descriptor, depth: int) -> int:
    data = files.read_blob(source, descriptor)
    if descriptor.media_type in manifests.INDEX_TYPES:
        if depth == 0:
            message = "indexes are nested too deeply"
            raise ArchiveInvalid(message)
        inner = manifests.parse_index(data, descriptor.media_type).manifests
        return sum(_check(source, entry, depth - 1) for entry in inner)
    _check_image(source, manifests.parse_manifest(data, descriptor.media_type))
    return 1


def _check_image(source: Source, manifest: Manifest) -> None:
    document = manifests.parse_json(files.read_blob(source, manifest.config), "image configuration")
    diff_ids = manifests.check_config(document, manifest)
    config = ImageConfig.from_oci(document)
    count = sum(not entry.empty_layer for entry in config.history)
    if config.history and count != len(diff_ids):
        message = f"the history lists {count} layers, the configuration has {len(diff_ids)}"
        raise ArchiveInvalid(message)
    for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
        _check_layer(source, layer, diff_id)


def _check_layer(source: Source, layer: Descriptor, diff_id: Digest) -> None:
    files.verify_blob(source, layer)
    plain = stream.Hasher()
    name, compression = files.blob_name(layer), manifests.LAYER_TYPES[layer.media_type]
    with source.open(name) as file, source.open(name) as twin:
        chunks = stream.decompress(file, compression)
        again = partial(stream.decompress, twin, compression)
        hashed = plain.over(limit_expansion(chunks, layer.size, again=again))
        for _ in Reader(hashed, largest=DEFAULT_LIMITS.largest(layer.size)).entries():
            pass
    if plain.digest != diff_id:
        message = f"layer {layer.digest} unpacks to {plain.digest}, the image declares {diff_id}"
        raise ArchiveInvalid(message)
