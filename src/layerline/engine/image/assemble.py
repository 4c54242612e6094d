"""Assemble images from snapshots and configurations: manifests, and an index for several platforms.

The same parts give the same bytes on every machine: no build time enters.
"""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from layerline.compression import ZSTD_LEVEL
from layerline.engine.image import manifests
from layerline.engine.image.config import History, ImageConfig, timestamp
from layerline.engine.image.manifests import Compression, Descriptor, Family, Manifest, MediaTypes
from layerline.engine.image.pack import LayerBlob, layer_blob

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from layerline.engine.store.digest import Digest
    from layerline.engine.store.store import Store

_CREATED_BY = "layerline"
_PARALLEL_LAYERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One platform's image: a configuration over snapshots, bottom first."""

    config: ImageConfig
    layers: tuple[str, ...]
    annotations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembledImage:
    """An image ready for export. `documents` are the JSON blobs; layer blobs are in the store.

    `root` names the manifest, or the index where there are several `manifests`. `snapshots` are
    what layers were made of, by the digests of their blobs.
    """

    root: Descriptor
    manifests: tuple[Manifest, ...]
    documents: tuple[tuple[Descriptor, bytes], ...]
    snapshots: Mapping[Digest, str] = field(default_factory=dict)

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """All layers, each blob once."""
        found = {layer.digest: layer for image in self.manifests for layer in image.layers}
        return tuple(found.values())

    def document(self, digest: Digest) -> bytes:
        """The bytes of a document."""
        return next(data for descriptor, data in self.documents if descriptor.digest == digest)


def assemble(
    store: Store,
    parts: Sequence[Part],
    *,
    compression: Compression | None = None,
    media_types: MediaTypes = MediaTypes.OCI,
    epoch: int | None = None,
    zstd_level: int = ZSTD_LEVEL,
    blob_of: Callable[[str], LayerBlob] | None = None,
) -> AssembledImage:
    """Create the missing layer blobs, and the manifests, configurations and index.

    `blob_of` gives the blob of a snapshot in another form than `compression`.
    """
    family = manifests.FAMILIES[media_types]
    pack = blob_of or functools.partial(
        layer_blob, store, compression=compression, epoch=epoch, zstd_level=zstd_level
    )
    blobs = _blobs(parts, pack)
    documents: dict[Digest, tuple[Descriptor, bytes]] = {}
    composed = []
    entries = []
    for part in parts:
        layers = [blobs[name] for name in part.layers]
        data = manifests.document_bytes(
            _complete_config(part.config, layers, epoch).to_oci([layer.diff_id for layer in layers])
        )
        config = manifests.describe(data, family.config)
        manifest = Manifest(
            config=config,
            layers=tuple(_descriptor(layer, family) for layer in layers),
            annotations=part.annotations,
        )
        body = manifests.manifest_bytes(manifest, family)
        entry = manifests.describe(body, family.manifest)
        documents[config.digest] = (config, data)
        documents[entry.digest] = (entry, body)
        composed.append(manifest)
        annotations = tuple(sorted(part.annotations))  # on both, as BuildKit's exporter
        entries.append(replace(entry, platform=part.config.platform, annotations=annotations))
    return AssembledImage(
        root=_root(entries, family, documents),
        manifests=tuple(composed),
        documents=tuple(documents.values()),
        snapshots={blob.digest: name for name, blob in blobs.items()},
    )


def _root(
    entries: Sequence[Descriptor],
    family: Family,
    documents: dict[Digest, tuple[Descriptor, bytes]],
) -> Descriptor:
    """The only manifest, or an index, which is added to the documents."""
    if len(entries) == 1:
        return entries[0]
    body = manifests.index_bytes(entries, family.index)
    root = manifests.describe(body, family.index)
    documents[root.digest] = (root, body)
    return root


def _blobs(parts: Sequence[Part], pack: Callable[[str], LayerBlob]) -> dict[str, LayerBlob]:
    names = list(dict.fromkeys(name for part in parts for name in part.layers))
    with ThreadPoolExecutor(_PARALLEL_LAYERS) as pool:
        return dict(zip(names, pool.map(pack, names), strict=True))


def _descriptor(layer: LayerBlob, family: Family) -> Descriptor:
    return Descriptor(
        media_type=family.layers[layer.compression.stream],
        digest=layer.digest,
        size=layer.size,
        annotations=layer.annotations,
    )


def _complete_config(
    config: ImageConfig, layers: Sequence[LayerBlob], epoch: int | None
) -> ImageConfig:
    """Set `created` to the epoch and add history entries until there is one for each layer."""
    created = timestamp(epoch or 0)
    history = config.history
    count = sum(not entry.empty_layer for entry in history)
    if count > len(layers):
        history, count = (), 0
    new = (History(created=created, created_by=_CREATED_BY),) * (len(layers) - count)
    return replace(config, created=created, history=(*history, *new))
