"""Import image archives and layouts into the store: OCI, and the older format of `docker save`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

from layerline.engine.image import archive_source as files
from layerline.engine.image import manifests, stream
from layerline.engine.image.archive_source import ArchiveSource, DirectorySource, Source
from layerline.engine.image.layer_import import Image, import_image
from layerline.engine.image.manifests import Descriptor, Manifest
from layerline.engine.image.reference import Reference
from layerline.engine.store.digest import Digest, digest_bytes
from layerline.errors import ArchiveInvalid, InvalidReference

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.image.platform import Platform
    from layerline.engine.store.store import Store

_BLOB_NAME = re.compile(r"blobs/sha256/([0-9a-f]{64})|([0-9a-f]{64})\.json")


def read_archive(store: Store, path: Path, *, tag: str = "", platform: Platform) -> Image:
    """Import an image from an archive or a layout directory, chosen by tag and then by platform."""
    if path.is_dir():
        return _import_source(store, DirectorySource(path), tag, platform)
    with ArchiveSource.from_file(path, store.scratch) as source:
        return _import_source(store, source, tag, platform)


def _import_source(store: Store, source: Source, tag: str, platform: Platform) -> Image:
    if source.has("oci-layout") and source.has("index.json"):
        return _import_oci(store, source, tag, platform)
    if source.has("manifest.json"):
        return _import_docker(store, source, tag)
    message = (
        "the archive has neither index.json (OCI) nor manifest.json (docker): "
        "create one with 'docker save', 'skopeo copy' or an export"
    )
    raise ArchiveInvalid(message)


def check_version(source: Source) -> None:
    """Raise ArchiveInvalid unless the layout has version 1."""
    document = manifests.parse_json(files.read_document(source, "oci-layout"), "oci-layout")
    version = document.get("imageLayoutVersion")
    if not isinstance(version, str) or not version.startswith("1."):
        message = f"unsupported image layout version {version!r}: only 1.x is supported"
        raise ArchiveInvalid(message)


def top_level(source: Source) -> tuple[Descriptor, ...]:
    """The descriptors in the layout's index.json."""
    data = files.read_document(source, "index.json")
    return manifests.parse_index(data, manifests.OCI.index).manifests


def _import_oci(store: Store, source: Source, tag: str, platform: Platform) -> Image:
    check_version(source)
    chosen = manifests.choose(_select_by_tag(top_level(source), tag), platform)
    for _ in range(manifests.DEEPEST_INDEX):
        if chosen.media_type not in manifests.INDEX_TYPES:
            break
        inner = manifests.parse_index(files.read_blob(source, chosen), chosen.media_type)
        chosen = manifests.choose(inner.manifests, platform)
    manifest = manifests.parse_manifest(files.read_blob(source, chosen), chosen.media_type)
    config = manifests.parse_json(files.read_blob(source, manifest.config), "image configuration")

    def fetch(layer: Descriptor) -> None:
        _copy(store, source, files.blob_name(layer), layer)

    def verify(layer: Descriptor) -> None:
        files.verify_blob(source, layer)

    return import_image(store, manifest, config, fetch, origin="archive", verify=verify)


def _select_by_tag(found: tuple[Descriptor, ...], tag: str) -> tuple[Descriptor, ...]:
    if not tag:
        return found
    named = tuple(entry for entry in found if _has_name(dict(entry.annotations), tag))
    if not named:
        message = f"the archive has no image tagged {tag!r}: not found"
        raise ArchiveInvalid(message)
    return named


def _has_name(annotations: dict[str, str], tag: str) -> bool:
    return tag in annotations.values()


def _import_docker(store: Store, source: Source, tag: str) -> Image:
    entry = _docker_entry(files.read_document(source, "manifest.json"), tag)
    raw = files.read_document(source, entry.config)
    _check_name(entry.config, digest_bytes(raw))
    config = manifests.parse_json(raw, "image configuration")
    family = manifests.FAMILIES[manifests.MediaTypes.DOCKER]
    names = dict.fromkeys(entry.layers)
    blobs = {name: _copy_unnamed(store, source, name, family) for name in names}
    manifest = Manifest(
        config=manifests.describe(raw, family.config),
        layers=tuple(blobs[name] for name in entry.layers),
    )
    return import_image(store, manifest, config, _never, origin="archive")


@dataclass(frozen=True, slots=True, kw_only=True)
class _DockerEntry:
    config: str
    layers: tuple[str, ...]
    tags: tuple[str, ...]


def _docker_entry(data: bytes, tag: str) -> _DockerEntry:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as exc:
        message = f"the archive's manifest.json is not JSON: {exc}"
        raise ArchiveInvalid(message) from exc
    if not isinstance(document, list) or not document:
        message = "the archive's manifest.json lists no image"
        raise ArchiveInvalid(message)
    entries = [_parse_entry(entry) for entry in document]
    wanted = [entry for entry in entries if not tag or _matches(entry.tags, tag)]
    if not wanted:
        message = f"the archive has no image tagged {tag!r}: not found"
        raise ArchiveInvalid(message)
    return wanted[0]


def _parse_entry(entry: object) -> _DockerEntry:
    found = entry if isinstance(entry, dict) else {}
    config, layers, tags = found.get("Config"), found.get("Layers"), found.get("RepoTags") or []
    if not isinstance(config, str) or not _are_texts(layers) or not _are_texts(tags):
        message = "invalid manifest.json in the archive: check Config, Layers and RepoTags"
        raise ArchiveInvalid(message)
    if len(layers) > manifests.MOST_LAYERS:
        message = f"the image has {len(layers)} layers: the limit is {manifests.MOST_LAYERS}"
        raise ArchiveInvalid(message)
    return _DockerEntry(config=config, layers=tuple(layers), tags=tuple(tags))


def _are_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _matches(names: tuple[str, ...], tag: str) -> bool:
    if tag in names or any(name.rpartition(":")[2] == tag for name in names):
        return True
    try:
        wanted = Reference.parse(tag).with_default_tag()
        return any(Reference.parse(name).with_default_tag() == wanted for name in names)
    except InvalidReference:
        return False


def _copy(store: Store, source: Source, name: str, layer: Descriptor) -> None:
    with source.open(name) as file, store.blobs.writer() as writer:
        for chunk in iter(lambda: file.read(stream.CHUNK), b""):
            writer.write(chunk)
            if writer.size > layer.size:
                break
        if writer.size != layer.size:
            message = f"{name} does not have its declared size of {layer.size} bytes"
            raise ArchiveInvalid(message)
        writer.commit(layer.digest)


def _copy_unnamed(store: Store, source: Source, name: str, family: manifests.Family) -> Descriptor:
    with source.open(name) as file, store.blobs.writer() as writer:
        head = file.read(stream.CHUNK)
        compression = stream.sniff(head)
        writer.write(head)
        for chunk in iter(lambda: file.read(stream.CHUNK), b""):
            writer.write(chunk)
        blob = writer.commit()
    _check_name(name, blob.digest)
    return Descriptor(media_type=family.layers[compression], digest=blob.digest, size=blob.size)


def _check_name(name: str, found: Digest) -> None:
    """Refuse a file that is named by a digest which is not its own, as newer archives name all."""
    wanted = _BLOB_NAME.fullmatch(name)
    if wanted is not None and found != f"sha256:{wanted[1] or wanted[2]}":
        message = f"content does not match its digest: {name} has {found}"
        raise ArchiveInvalid(message)


def _never(layer: Descriptor) -> None:
    message = f"layer {layer.digest} is missing from the store"
    raise ArchiveInvalid(message)
