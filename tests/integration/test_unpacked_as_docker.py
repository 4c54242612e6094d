"""What tar archives unpack to, as layers and in ADD: the same as in Debian's docker.

GNU's old sparse files and hard links into a lower layer are refused by both.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.engine.image import tarwriter
from layerline.engine.image.archive_reader import read_archive
from layerline.engine.image.platform import Platform
from layerline.engine.store.store import Store
from layerline.engine.store.tree import Tree
from layerline.errors import ArchiveInvalid, CommandFailed
from tests.docker import daemon
from tests.unit.image.conftest import folder, hardlink, member

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.docker import Docker

pytestmark = [pytest.mark.usefixtures("machine_root", "device_nodes"), pytest.mark.slow]

# What a container has of its own.
OF_CONTAINERS = (".dockerenv", "dev", "etc", "proc", "sys")
Found = dict[str, tuple[object, ...]]


def layer(*pieces: bytes) -> bytes:
    return b"".join((*pieces, tarwriter.END))


def sparse(place: Path, *flags: str) -> bytes:
    """What GNU tar writes of a file with holes."""
    place.mkdir()
    with (place / "holes").open("wb") as file:
        for number in range(60):
            file.seek(number << 17)
            file.write(b"%d" % number * 100)
        file.truncate(60 << 17)
    return command.run(["tar", "--sparse", *flags, "-C", place, "-c", "holes"]).stdout


def image(*layers: bytes) -> bytes:
    """An archive as `docker save` writes it."""
    digests = [f"sha256:{hashlib.sha256(each).hexdigest()}" for each in layers]
    config = {"architecture": Platform.of_host().architecture, "os": "linux", "config": {}}
    config["rootfs"] = {"type": "layers", "diff_ids": digests}
    names = [f"{number}.tar" for number in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": ["sample:1"], "Layers": names}]
    documents = {"config.json": config, "manifest.json": manifest}
    files = {name: json.dumps(each).encode() for name, each in documents.items()}
    files |= dict(zip(names, layers, strict=True))
    return layer(*(member(name, data) for name, data in files.items()))


def files_of(tar: tarfile.TarFile) -> Iterator[tuple[str, tuple[object, ...]]]:
    for entry in tar:
        if entry.name.split("/")[0] in OF_CONTAINERS or entry.isdir():
            continue
        file = tar.extractfile(entry) if entry.isfile() or entry.islnk() else None
        data = "" if file is None else hashlib.sha256(file.read()).hexdigest()
        kind = tar.getmember(entry.linkname).type if entry.islnk() else entry.type
        device = (entry.devmajor, entry.devminor)
        yield entry.name, (kind, entry.mode & 0o7777, entry.uid, entry.gid, device, data)


def of_docker(docker: Docker, archive: Path) -> Found | None:
    """The files of a container of the image; None where docker refuses it."""
    try:
        docker.run("load", "--input", str(archive))
    except CommandFailed:
        return None
    container = docker.run("create", "sample:1", "/none").decode().strip()
    with tarfile.open(fileobj=io.BytesIO(docker.run("export", container))) as tar:
        return dict(files_of(tar))


def of_ours(store: Store, archive: Path) -> Found | None:
    try:
        found = read_archive(store, archive, platform=Platform.of_host())
    except ArchiveInvalid:
        return None
    tree = Tree(tuple(store.snapshots.path(name) for name in found.layers))
    return dict(_entries(tree))


def _entries(tree: Tree) -> Iterator[tuple[str, tuple[object, ...]]]:
    kinds = {stat.S_IFREG: b"0", stat.S_IFBLK: b"4", stat.S_IFCHR: b"3", stat.S_IFIFO: b"6"}
    for entry in tree.walk():
        if entry.is_dir:
            continue
        info = entry.stat
        data = hashlib.sha256(entry.read()).hexdigest() if entry.is_file else ""
        device = (os.major(info.st_rdev), os.minor(info.st_rdev))
        kind = kinds[stat.S_IFMT(info.st_mode)]
        yield entry.path[1:], (kind, entry.mode, info.st_uid, info.st_gid, device, data)


def test_layers_unpack_as_in_docker(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    posix = ("--format=posix", "--sparse-version")
    lower = layer(folder("d"), member("d/f", b"low", mode=0o640, uid=3))
    cases = {
        "sparse 0.0": [sparse(tmp_path / "a", posix[0], f"{posix[1]}=0.0")],
        "sparse 0.1": [sparse(tmp_path / "b", posix[0], f"{posix[1]}=0.1")],
        "sparse 1.0": [sparse(tmp_path / "c", posix[0], f"{posix[1]}=1.0")],
        "old sparse": [sparse(tmp_path / "e", "--format=gnu")],
        "devices": [
            layer(
                member("disk", kind="4", device=(8, 1), mode=0o660, gid=6),
                member("none", kind="4", device=(0, 0), mode=0o600),
                member("zero", kind="3", device=(1, 5), mode=0o666),
                hardlink("again", "zero", mode=0o666),
                member("pipe", kind="6", mode=0o600),
                hardlink("pipes", "pipe", mode=0o600),
            )
        ],
        "link below": [lower, layer(hardlink("d/h", "d/f", mode=0o640, uid=3))],
        "link to a copy": [lower, layer(member("d/f", b"new"), hardlink("h", "d/f"))],
    }
    archive = tmp_path / "image.tar"
    found: dict[str, tuple[Found | None, Found | None]] = {}
    with daemon(tmp_path_factory.mktemp("d")) as docker, Store.open(tmp_path / "store") as store:
        for name, layers in cases.items():
            archive.write_bytes(image(*layers))
            found[name] = (of_ours(store, archive), of_docker(docker, archive))
    for name, (ours, theirs) in found.items():
        assert ours == theirs, name
    assert [name for name, (ours, _) in found.items() if ours is None] == [
        "old sparse",
        "link below",
    ]
