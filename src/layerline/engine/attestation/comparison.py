"""A published image held against one that was built again: layer by layer, then file by file."""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from layerline.engine.image import manifests, stream
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry.connections import Registries
from layerline.engine.store.store import Store
from layerline.errors import ArchiveInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from layerline.engine.image.manifests import Descriptor
    from layerline.engine.image.registry.repository import Repository
    from layerline.settings import Settings

BASE, SAME, DIFFERS = "base, not rebuilt", "same", "differs"
MOST_FILES = 20
_CHUNK = 1 << 20
# What of a file in a layer is compared.
_FIELDS = ("type", "mode", "uid", "gid", "mtime", "linkname")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedLayer:
    """A layer of both images. `files` says what differs in it, at most `MOST_FILES` lines."""

    number: int
    published: str
    rebuilt: str
    state: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Both images; `config` names the fields of the configuration that differ."""

    layers: tuple[ComparedLayer, ...]
    config: tuple[str, ...]

    @property
    def problems(self) -> Iterator[str]:
        """Yield what is not the same."""
        for layer in self.layers:
            if layer.state == DIFFERS:
                files = "".join(f"\n    {each}" for each in layer.files)
                yield (
                    f"rebuild: layer {layer.number} differs: published {layer.published}, "
                    f"rebuilt {layer.rebuilt}{files}"
                )
        for name in self.config:
            yield f"rebuild: {name} of the configuration differs"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Archive:
    """An image in an OCI archive: its configuration, and the layers as they are packed."""

    file: tarfile.TarFile
    config: Mapping[str, Any]
    layers: tuple[Descriptor, ...]

    @property
    def diff_ids(self) -> tuple[str, ...]:
        return tuple(self.config["rootfs"]["diff_ids"])


def compare_address(
    settings: Settings, address: str, digest: str, rebuilt: Path, base: Path
) -> Comparison:
    """Compare the image of a digest with OCI archives of the one built again and of its base."""
    reference = Reference.parse(address)
    with Registries.open(settings) as registries:
        return _compare(registries.registry(reference), digest, rebuilt, base)


def _compare(repository: Repository, digest: str, rebuilt: Path, base: Path) -> Comparison:
    raw = repository.manifest(digest)
    published = manifests.parse_manifest(raw.data, raw.descriptor.media_type)
    config = manifests.parse_json(repository.document(published.config), "configuration")
    with _open(base) as found:
        below = found.diff_ids
    with _open(rebuilt) as again:
        theirs, ours = config["rootfs"]["diff_ids"], again.diff_ids
        layers = []
        for at in range(max(len(theirs), len(ours))):
            one, other = (each[at] if at < len(each) else "none" for each in (theirs, ours))
            state = DIFFERS if one != other else BASE if below[at : at + 1] == (one,) else SAME
            files: tuple[str, ...] = ()
            if state == DIFFERS and "none" not in (one, other):
                files = _compare_files(repository, published.layers[at], again, again.layers[at])
            layers.append(
                ComparedLayer(number=at + 1, published=one, rebuilt=other, state=state, files=files)
            )
        return Comparison(layers=tuple(layers), config=tuple(_changed(config, again.config)))


def _changed(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    """Yield the fields of two configurations that differ; the layers are compared on their own."""
    for name in sorted({*one, *other} - {"rootfs", "config", "history"}):
        if one.get(name) != other.get(name):
            yield name
    inner = [each.get("config") or {} for each in (one, other)]
    for name in sorted({*inner[0], *inner[1]}):
        mine, theirs = (each.get(name) for each in inner)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            changed = (key for key in {*mine, *theirs} if mine.get(key) != theirs.get(key))
            yield from (f"{name} {key}" for key in sorted(changed))
        elif mine != theirs:
            yield name


@contextmanager
def _open(path: Path) -> Iterator[_Archive]:
    try:
        with tarfile.open(path) as file:
            [root, *_] = _document(file, "index.json")["manifests"]
            manifest = _document(file, _blob(root["digest"]))
            if "manifests" in manifest:
                manifest = _document(file, _blob(manifest["manifests"][0]["digest"]))
            data = json.dumps(manifest).encode()
            parsed = manifests.parse_manifest(data, manifest["mediaType"])
            config = _document(file, _blob(parsed.config.digest))
            yield _Archive(file=file, config=config, layers=parsed.layers)
    except (tarfile.TarError, KeyError, ValueError) as exc:
        message = f"{path.name} is not an OCI archive: {exc!r}"
        raise ArchiveInvalid(message) from exc


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _document(file: tarfile.TarFile, name: str) -> dict[str, Any]:
    found = file.extractfile(name)
    document: dict[str, Any] = json.load(found) if found is not None else {}
    return document


def _compare_files(
    repository: Repository, published: Descriptor, archive: _Archive, rebuilt: Descriptor
) -> tuple[str, ...]:
    with tempfile.TemporaryDirectory() as place, Store.open(Path(place) / "store") as store:
        repository.fetch(store, published)
        with store.blobs.open(published.digest) as source:
            one = _files(source, published)
    packed = archive.file.extractfile(_blob(rebuilt.digest))
    assert packed is not None
    other = _files(packed, rebuilt)
    return tuple(_shortened([*_differences(one, other)]))


def _shortened(lines: Sequence[str]) -> Iterator[str]:
    yield from lines[:MOST_FILES]
    if len(lines) > MOST_FILES:
        yield f"and {len(lines) - MOST_FILES} more"


def _differences(
    one: Mapping[str, Mapping[str, object]], other: Mapping[str, Mapping[str, object]]
) -> Iterator[str]:
    for name in sorted({*one, *other}):
        if name not in other:
            yield f"{name}: only in the published image"
        elif name not in one:
            yield f"{name}: only in the rebuilt image"
        elif one[name] != other[name]:
            changed = [key for key in one[name] if one[name][key] != other[name][key]]
            yield f"{name}: {', '.join(changed)}"


def _files(packed: IO[bytes], layer: Descriptor) -> dict[str, dict[str, object]]:
    """What is compared of each member of a layer, by its name."""
    compression = manifests.LAYER_TYPES[layer.media_type]
    found: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryFile() as plain:
        for chunk in stream.decompress(packed, compression):  # type: ignore[arg-type]
            plain.write(chunk)
        plain.seek(0)
        with tarfile.open(fileobj=plain) as layer_tar:
            for member in layer_tar:
                content = layer_tar.extractfile(member) if member.isreg() else None
                found[member.name] = {
                    "content": "" if content is None else _digest(content),
                    **{name: getattr(member, name) for name in _FIELDS},
                }
    return found


def _digest(content: IO[bytes]) -> str:
    found = hashlib.sha256()
    while chunk := content.read(_CHUNK):
        found.update(chunk)
    return found.hexdigest()
