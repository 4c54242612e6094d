"""eStargz and zstd:chunked: ordinary streams, whose files can be read one by one.

https://github.com/containerd/stargz-snapshotter/blob/v0.16.3/docs/estargz.md
https://github.com/containers/storage/tree/v1.45.1/pkg/chunked
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import struct
import tarfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from layerline.engine.image.assemble import Part, assemble
from layerline.engine.image.config import ImageConfig
from layerline.engine.image.manifests import FAMILIES, Compression, MediaTypes
from layerline.engine.image.pack import LayerBlob, layer_blob, pack
from layerline.engine.image.platform import Platform
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry.connections import Registries
from layerline.engine.image.registry.credentials import Credentials
from layerline.engine.image.resolve import Resolver
from layerline.engine.image.seekable import CHUNK_BYTES
from layerline.engine.image.stream import LayerCompressor
from layerline.engine.store.store import Store
from layerline.settings import Settings
from tests.images import snapshot_of
from tests.podman import podman
from tests.registry import serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.image.conftest import MakeTree

OCI = FAMILIES[MediaTypes.OCI]
KINDS = (Compression.ESTARGZ, Compression.ZSTD_CHUNKED)


@pytest.fixture
def root(make_tree: MakeTree) -> Path:
    """A directory with a file of several chunks, one without bytes, and links."""
    place = make_tree({"d/small": "text", "d/link": "-> small", "empty": "", "ä": "name"})
    (place / "large").write_bytes(os.urandom(CHUNK_BYTES + 1000))
    return place


def packed(store: Store, snapshot: str, kind: Compression) -> tuple[LayerBlob, bytes]:
    layer = layer_blob(store, snapshot, kind)
    return layer, store.blobs.read(layer.digest)


def estargz_table(data: bytes) -> dict[str, Any]:
    """The table that the footer points to: 51 bytes, an empty gzip member with an extra field."""
    footer = data[-51:]
    assert gzip.decompress(footer) == b""
    assert footer[12:14] == b"SG"
    assert footer[-13 - 6 : -13] == b"STARGZ"
    place = int(footer[16:32], 16)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data[place:-51]))) as archive:
        file = archive.extractfile("stargz.index.json")
        assert file is not None
        found: dict[str, Any] = json.load(file)
        return found


def chunked_table(data: bytes) -> dict[str, Any]:
    """The table that the last skippable frame points to, by little-endian numbers."""
    magic, size = struct.unpack("<II", data[-48:-40])
    place, length, plain, kind = struct.unpack("<4Q", data[-40:-8])
    assert (magic, size, kind, data[-8:]) == (0x184D2A50, 40, 1, b"GNUlInUx")
    table = zstandard.ZstdDecompressor().decompress(data[place : place + length], 1 << 20)
    assert len(table) == plain
    found: dict[str, Any] = json.loads(table)
    return found


def read_member(data: bytes) -> bytes:
    return zlib.decompressobj(31).decompress(data)


def read_frame(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


@pytest.mark.parametrize(
    ("kind", "table_of", "read"),
    [
        (Compression.ESTARGZ, estargz_table, read_member),
        (Compression.ZSTD_CHUNKED, chunked_table, read_frame),
    ],
)
def test_each_file_is_read_by_the_table_alone(
    store: Store,
    root: Path,
    kind: Compression,
    table_of: Callable[[bytes], dict[str, Any]],
    read: Callable[[bytes], bytes],
) -> None:
    _, data = packed(store, snapshot_of(store, root), kind)
    table = table_of(data)
    assert table["version"] == 1
    contents: dict[str, bytes] = {}
    digests: dict[str, str] = {}
    for entry in table["entries"]:
        if entry["type"] == "reg":
            digests[entry["name"]] = entry["digest"]
            contents[entry["name"]] = b""
        if "offset" in entry:
            size = entry.get("chunkSize") or entry["size"]
            chunk = read(data[entry["offset"] :])[:size]
            assert entry["chunkDigest"] == "sha256:" + hashlib.sha256(chunk).hexdigest()
            assert entry.get("chunkOffset", 0) == len(contents[entry["name"]])
            contents[entry["name"]] += chunk
    names = ("large", "empty", "ä", "d/small")
    assert contents == {name: (root / name).read_bytes() for name in names}
    for name, digest in digests.items():
        assert digest == "sha256:" + hashlib.sha256(contents[name]).hexdigest()
    kinds = {entry["name"]: entry["type"] for entry in table["entries"] if entry["type"] != "chunk"}
    assert kinds["d/"] == "dir"
    assert kinds["d/link"] == "symlink"


def test_the_content_is_the_tar_and_with_estargz_its_table(store: Store, root: Path) -> None:
    """As BuildKit has it (AppendTarLossLess): who unpacks it stops at the end of the tar."""
    snapshot = snapshot_of(store, root)
    plain = b"".join(pack(store.snapshots.path(snapshot)))
    chunked, data = packed(store, snapshot, Compression.ZSTD_CHUNKED)
    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
        assert reader.read() == plain
    assert chunked.diff_id == "sha256:" + hashlib.sha256(plain).hexdigest()
    seekable, data = packed(store, snapshot, Compression.ESTARGZ)
    content = gzip.decompress(data)
    assert content.startswith(plain)
    assert seekable.diff_id == "sha256:" + hashlib.sha256(content).hexdigest()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        assert "stargz.index.json" not in archive.getnames()


@pytest.mark.parametrize("kind", KINDS)
def test_the_bytes_depend_on_the_tar_alone(store: Store, root: Path, kind: Compression) -> None:
    plain = b"".join(pack(store.snapshots.path(snapshot_of(store, root))))
    one = b"".join(LayerCompressor(kind).compress(iter([plain])))
    pieces = (plain[at : at + 70_000] for at in range(0, len(plain), 70_000))
    assert b"".join(LayerCompressor(kind).compress(pieces)) == one


@pytest.mark.parametrize("kind", KINDS)
def test_the_manifest_says_where_the_table_is(store: Store, root: Path, kind: Compression) -> None:
    part = Part(config=ImageConfig(), layers=(snapshot_of(store, root),))
    (layer,) = assemble(store, [part], compression=kind).layers
    data = store.blobs.read(layer.digest)
    said = dict(layer.annotations)
    if kind is Compression.ESTARGZ:
        assert layer.media_type == OCI.layers[Compression.GZIP]
        size = len(gzip.decompress(data))
        assert said["io.containers.estargz.uncompressed-size"] == str(size)
        assert said["containerd.io/snapshot/stargz/toc.digest"].startswith("sha256:")
    else:
        assert layer.media_type == OCI.layers[Compression.ZSTD]
        numbers = said["io.containers.zstd-chunked.manifest-position"].split(":")
        place, length = map(int, numbers[:2])
        digest = "sha256:" + hashlib.sha256(data[place : place + length]).hexdigest()
        assert said["io.containers.zstd-chunked.manifest-checksum"] == digest


def test_a_level_of_zstd_has_a_blob_of_its_own(store: Store, make_tree: MakeTree) -> None:
    snapshot = snapshot_of(store, make_tree({"f": "".join(map(str, range(30_000)))}))
    low = layer_blob(store, snapshot, Compression.ZSTD)
    high = layer_blob(store, snapshot, Compression.ZSTD, zstd_level=19)
    assert high.size < low.size
    assert high.diff_id == low.diff_id
    assert layer_blob(store, snapshot, Compression.ZSTD) == low
    gzipped = layer_blob(store, snapshot, Compression.GZIP)
    assert layer_blob(store, snapshot, Compression.GZIP, zstd_level=19) == gzipped


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.privileged
@pytest.mark.usefixtures("machine_root")
def test_podman_and_another_store_pull_it(
    store: Store, root: Path, kind: Compression, tmp_path: Path
) -> None:
    place = tmp_path / "registry"
    place.mkdir()
    config = ImageConfig(platform=Platform.of_host())
    image = assemble(
        store, [Part(config=config, layers=(snapshot_of(store, root),))], compression=kind
    )
    settings = Settings(store=tmp_path, home=tmp_path, config=tmp_path / "config.toml")
    with serving(place) as address, podman(tmp_path, partial=True) as program:
        reference = Reference.parse(f"{address}/app:1")
        registries = Registries(settings=settings, credentials=Credentials.of(settings))
        registries.registry(reference).push(store, image)
        said = program.said("--log-level=debug", "pull", "--tls-verify=false", str(reference))
        assert f"Retrieved partial blob {image.layers[0].digest}" in said
        with Store.open(tmp_path / "other") as other:
            pulled = Resolver(store=other, registries=registries).resolve(
                reference, Platform.of_host()
            )
            (layer,) = pulled.layers
            assert (other.snapshots.path(layer) / "large").read_bytes() == (
                root / "large"
            ).read_bytes()
        registries.close()
        mounted = program.run("image", "mount", str(reference)).decode().strip()
        try:
            for name in ("large", "d/small", "empty", "ä"):
                assert (root / name).read_bytes() == Path(mounted, name).read_bytes()
        finally:
            program.run("image", "unmount", str(reference))
