"""Layers and archives that would grow without bound: refused in 2 s and 256 MiB, the disk bounded.

Each is imported by a process of its own, which says what it took. What docker loads is not refused:
zeros, several members of gzip, attributes, hundreds of layers.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import json
import random
import sys
import tarfile
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from layerline import command
from layerline.engine.image import tarwriter
from layerline.engine.image.archive_reader import read_archive
from layerline.engine.image.manifests import MOST_LAYERS
from layerline.engine.image.platform import Platform
from layerline.engine.image.tarwriter import Member
from layerline.engine.image.unpack import DEFAULT_LIMITS, Limits, limit_expansion, unpack
from layerline.errors import ArchiveInvalid
from layerline.settings import process_environ
from tests.conftest import SOURCE
from tests.unit.image.conftest import Arena, member

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from layerline.engine.store.store import Store

MIB = 1 << 20
GIB = 1 << 30
SECONDS = 2.0
MEMORY = 256 * MIB
LAYER = "application/vnd.oci.image.layer.v1.tar"
IMPORT = """
import json, sys, threading, time
from pathlib import Path
from layerline.engine.image.archive_reader import read_archive
from layerline.engine.image.platform import Platform
from layerline.engine.store.store import Store
from layerline.errors import ArchiveInvalid

disk = 0
def watch():
    global disk
    while True:
        sizes = []
        for path in Path(sys.argv[2]).rglob("*"):
            try:
                sizes.append(path.lstat().st_blocks * 512)
            except OSError:
                pass
        disk = max(disk, sum(sizes))
        time.sleep(0.05)

with Store.open(Path(sys.argv[2])) as store:
    threading.Thread(target=watch, daemon=True).start()
    began = time.process_time()
    try:
        read_archive(store, Path(sys.argv[1]), platform=Platform.of_host())
        refused = ""
    except ArchiveInvalid as exc:
        refused = str(exc)
    seconds = time.process_time() - began
status = Path("/proc/self/status").read_text()  # ru_maxrss is inherited from the test's process
memory = int(status.partition("VmHWM:")[2].split()[0]) * 1024
print(json.dumps([refused, seconds, memory, disk]))
"""


def compress(pieces: Iterable[bytes]) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*map(packer.compress, pieces), packer.flush()])


def header(name: str, size: int = 0, kind: bytes = b"0") -> bytes:
    """A header of any kind, with a checksum that is right."""
    block = bytearray(tarwriter.header(Member(name=name.encode(), size=size)))
    block[156:157] = kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def extension(body: bytes, kind: bytes = b"x") -> bytes:
    return header("extension", len(body), kind) + body + tarwriter.padding(len(body))


def record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    while len(b"%d" % length) + len(key) + len(value) + 3 != length:
        length = len(b"%d" % length) + len(key) + len(value) + 3
    return b"%d %s=%s\n" % (length, key, value)


def records(pattern: bytes, size: int) -> bytes:
    """Records of distinct keys, as many as fit into `size` bytes."""
    made = bytearray()
    number = 0
    while len(made) < size - 64:
        made += record(pattern % number, b"1")
        number += 1
    return bytes(made)


def repeat(count: int, piece: bytes = bytes(MIB), *, after: bytes = b"") -> bytes:
    """A gzip of `after` and many pieces, each packed once; its checksum is never reached."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = packer.compress(after) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + head + block * count + packer.flush() + bytes(8)


def large(size: int) -> bytes:
    return tarwriter.header(Member(name=b"large", size=size))


TINY = extension(records(b"%x", MIB)) + header("f")

LAYERS: dict[str, Callable[[], bytes]] = {
    "1 MiB of tiny records": lambda: compress([TINY, tarwriter.END]),
    "10 MiB of tiny records": lambda: compress([*[TINY] * 10, tarwriter.END]),
    "1000 records for each of 20000": lambda: compress(
        [*[extension(records(b"%d", 8000)) + header("f")] * 20_000, tarwriter.END]
    ),
    "100000 headers of one file": lambda: compress(
        [*[extension(record(b"a%d" % n, b"x")) for n in range(100_000)], header("f")]
    ),
    "100000 global headers": lambda: compress([extension(record(b"a", b"x"), b"g")] * 100_000),
    "100000 long names": lambda: compress([extension(b"n" * 900, b"L")] * 100_000),
    "a sparse map": lambda: compress([extension(records(b"GNU.sparse.offset.%d", MIB))] * 10),
    "10 GiB in a file": lambda: repeat(10 * 1024, after=large(10 * GIB)),
    "10 GiB in many files": lambda: repeat(10 * 1024, large(MIB - 512) + bytes(MIB - 512)),
    "10 GiB that are no zeros": lambda: repeat(
        10 * 1024, large(MIB - 512) + b"ab" * (MIB // 2 - 256)
    ),
    "10 GiB after the end": lambda: repeat(10 * 1024, after=tarwriter.END),
    "200000 members of gzip": lambda: gzip.compress(b"", mtime=0) * 200_000,
    "10 GiB by zstd": lambda: zstandard.compress(large(MIB - 512) + bytes(MIB - 512)) * 10_240,
}


def layout(layers: Iterable[tuple[str, bytes]], diff_ids: list[str]) -> bytes:
    """An OCI archive of these layers, each with its media type."""
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def put(data: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        files[f"blobs/sha256/{digest}"] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def document(**members: object) -> bytes:
        return json.dumps(members).encode()

    kind = "application/vnd.oci.image"
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    config = document(architecture="amd64", os="linux", config={}, rootfs=rootfs)
    manifest = document(
        schemaVersion=2,
        config=put(config, f"{kind}.config.v1+json"),
        layers=[put(data, media_type) for media_type, data in layers],
    )
    entry = put(manifest, f"{kind}.manifest.v1+json")
    files["index.json"] = document(schemaVersion=2, manifests=[entry])
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def image(*layers: bytes) -> bytes:
    """An archive of plain layers with their own diff ids."""
    ids = ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]
    return layout([(LAYER, layer) for layer in layers], ids)


def small(number: int) -> bytes:
    return member(f"f{number}", b"x") + tarwriter.END


def around(size: int) -> bytes:
    """A gzip around an archive that has a large member as well."""
    return repeat(size // MIB, after=image(small(0)).rstrip(b"\0") + bytes(4096) + large(size))


ARCHIVES: dict[str, Callable[[], bytes]] = {
    "a gzip of 12 GiB around an archive": lambda: around(12 * GIB),
    "999 layers": lambda: image(*map(small, range(999))),
}


def make_archive(name: str) -> bytes:
    if name in ARCHIVES:
        return ARCHIVES[name]()
    media_type = LAYER + ("+zstd" if "zstd" in name else "+gzip")
    return layout([(media_type, LAYERS[name]())], ["sha256:" + "0" * 64])


@pytest.mark.parametrize("name", [*LAYERS, *ARCHIVES])
def test_a_bomb_is_refused_within_bounds(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(make_archive(name))
    packed = archive.stat().st_size
    environ = {**process_environ(), "PYTHONPATH": str(SOURCE)}
    argv: list[str | Path] = [sys.executable, "-c", IMPORT, archive, tmp_path / "store"]
    refused, seconds, memory, disk = json.loads(command.run(argv, env=environ).stdout)
    assert refused
    assert seconds < SECONDS
    assert memory < MEMORY
    most = max(DEFAULT_LIMITS.free_written, packed * DEFAULT_LIMITS.written)
    assert disk < packed + most + 64 * MIB


def test_zeros_are_no_bomb_and_take_no_space(arena: Arena) -> None:
    """`docker load` takes a layer of zeros of any size, and we export such."""
    chunks = itertools.chain([large(GIB)], itertools.repeat(bytes(MIB), 1024), [tarwriter.END])
    unpack(limit_expansion(chunks, 1 * MIB), arena.target, packed=1 * MIB)
    found = (arena.target / "large").stat()
    assert found.st_size == GIB
    assert found.st_blocks * 512 < 4 * MIB


def test_holes_are_where_the_zeros_were(arena: Arena) -> None:
    content = b"a" + bytes(3 * MIB) + b"b" + bytes(2 * MIB)
    piece = member("f", content) + tarwriter.END
    unpack(iter([piece[at : at + MIB] for at in range(0, len(piece), MIB)]), arena.target)
    assert (arena.target / "f").read_bytes() == content


def test_zeros_next_to_data_are_holes_and_do_not_count(arena: Arena) -> None:
    """As a disk image has them: a little data in each MiB."""
    block = random.Random(1).randbytes(4096) + bytes(MIB - 4096)
    plain = member("disk", block * 64) + tarwriter.END
    packed = len(compress([plain]))
    limits = Limits(free_written=MIB)
    assert packed * limits.written < len(plain)
    chunks = (plain[at : at + MIB] for at in range(0, len(plain), MIB))
    unpack(limit_expansion(chunks, packed, limits), arena.target, packed=packed, limits=limits)
    assert (arena.target / "disk").read_bytes() == block * 64
    assert (arena.target / "disk").stat().st_blocks * 512 < 64 * 3 * (1 << 16)


def test_the_end_of_a_bomb_is_seen_before_all_of_it_is_unpacked() -> None:
    zeros = itertools.repeat(bytes(MIB), 1025)
    limits = Limits(free_expansion=GIB)
    again = partial(itertools.repeat, bytes(MIB), 1025)
    with pytest.raises(ArchiveInvalid, match="expands more than 200-fold"):
        sum(map(len, limit_expansion(zeros, MIB, limits, again=again)))
    assert next(zeros, None) is not None
    assert len(list(zeros)) > 800


def test_hundreds_of_layers_are_imported(store: Store, tmp_path: Path) -> None:
    """Docker refuses more than 127 layers, overlayfs mounts no more than 500."""
    archive = tmp_path / "archive"
    archive.write_bytes(image(*map(small, range(200))))
    assert len(read_archive(store, archive, platform=Platform.parse("linux/amd64")).layers) == 200
    archive.write_bytes(image(*map(small, range(MOST_LAYERS + 1))))
    with pytest.raises(ArchiveInvalid, match=f"the limit is {MOST_LAYERS}"):
        read_archive(store, archive, platform=Platform.parse("linux/amd64"))


def test_many_members_with_attributes_are_unpacked(arena: Arena) -> None:
    names = [b"user.%d" % number for number in range(12)]
    pieces = [
        member(f"f{number}", xattrs=dict.fromkeys(names, b"x"), mtime=1) for number in range(2000)
    ]
    assert arena.unpack(*pieces).entries == 2000


def test_a_layer_of_many_members_of_gzip_is_imported(store: Store, tmp_path: Path) -> None:
    """As eStargz has them: one for each file."""
    pieces = [*map(small_member, range(3000)), tarwriter.END]
    packed = b"".join(gzip.compress(piece, mtime=0) for piece in pieces)
    diff_id = "sha256:" + hashlib.sha256(b"".join(pieces)).hexdigest()
    archive = tmp_path / "archive"
    archive.write_bytes(layout([(LAYER + "+gzip", packed)], [diff_id]))
    assert read_archive(store, archive, platform=Platform.parse("linux/amd64")).layers


def small_member(number: int) -> bytes:
    return member(f"f{number}", b"content")
