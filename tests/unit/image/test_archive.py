"""Archives: what other tools read, byte for byte reproducible, and never half written."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.engine.image.archive import write_archive, write_layout
from layerline.engine.image.archive_reader import read_archive
from layerline.engine.image.assemble import AssembledImage, Part, assemble
from layerline.engine.image.config import ImageConfig
from layerline.engine.image.manifests import Compression, MediaTypes
from layerline.engine.image.pack import layer_blob
from layerline.engine.image.platform import Platform
from layerline.engine.image.reference import Reference
from layerline.engine.image.validate import validate
from layerline.engine.store.store import Store
from layerline.errors import ArchiveInvalid, IsADirectory, PathNotFound, StoreDamaged
from tests.images import image_of, snapshot_of

if TYPE_CHECKING:
    from tests.unit.image.conftest import MakeTree

AMD = Platform.parse("linux/amd64")
ARM = Platform.parse("linux/arm64")
NAME = Reference.parse("me/app:1.0")


@pytest.fixture
def image(store: Store, make_tree: MakeTree) -> AssembledImage:
    """An image of two layers."""
    config = ImageConfig(platform=AMD, env=(("A", "b"),), labels=(("k", "v"),))
    return image_of(
        store, make_tree({"etc/f": "one", "l": "-> etc"}), make_tree({"etc/g": "2"}), config=config
    )


def tool(name: str) -> Path:
    found = command.find(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def test_the_archive_holds_what_oci_and_docker_want(
    store: Store, image: AssembledImage, tmp_path: Path
) -> None:
    target = tmp_path / "image.tar"
    assert write_archive(store, image, target, reference=NAME)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with tarfile.open(target) as archive:
        names = archive.getnames()
        docker = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
        index = json.load(archive.extractfile("index.json"))  # type: ignore[arg-type]
    assert names[:3] == ["oci-layout", "index.json", "manifest.json"]
    assert docker[0]["RepoTags"] == ["docker.io/me/app:1.0"]
    assert {docker[0]["Config"], *docker[0]["Layers"]} < set(names)
    (entry,) = index["manifests"]
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "1.0"
    assert validate(target, scratch=tmp_path) == 1


def test_the_same_image_is_the_same_file_from_any_store(
    make_tree: MakeTree, tmp_path: Path
) -> None:
    made = []
    for number in range(2):
        with Store.open(tmp_path / f"store-{number}") as store:
            image = image_of(store, make_tree({"a": "x", "b/c": "y"}))
            target = tmp_path / f"{number}.tar"
            write_archive(store, image, target)
            made.append(target.read_bytes())
    assert made[0] == made[1]


def test_a_file_that_is_the_image_stays_untouched(
    store: Store, image: AssembledImage, tmp_path: Path
) -> None:
    target = tmp_path / "image.tar"
    write_archive(store, image, target)
    before = target.stat()
    assert not write_archive(store, image, target)
    assert (target.stat().st_ino, target.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert write_archive(store, image, target, reference=NAME)
    with target.open("ab") as file:
        file.write(b"more")
    assert write_archive(store, image, target, reference=NAME)
    assert validate(target, scratch=tmp_path) == 1


def test_a_link_at_the_target_is_replaced(
    store: Store, image: AssembledImage, tmp_path: Path
) -> None:
    victim, target = tmp_path / "victim", tmp_path / "image.tar"
    victim.write_text("mine")
    target.symlink_to(victim)
    write_archive(store, image, target)
    assert victim.read_text() == "mine"
    assert not target.is_symlink()


def test_a_failed_export_leaves_the_old_file(
    store: Store, image: AssembledImage, tmp_path: Path
) -> None:
    target = tmp_path / "out" / "image.tar"
    target.parent.mkdir()
    target.write_text("old")
    blob = store.blobs.path(image.layers[0].digest)
    blob.chmod(0o600)
    blob.write_bytes(b"x" * blob.stat().st_size)
    with pytest.raises(StoreDamaged):
        write_archive(store, image, target)
    assert target.read_text() == "old"
    assert [path.name for path in target.parent.iterdir()] == ["image.tar"]


def test_a_target_that_cannot_be_is_named(
    store: Store, image: AssembledImage, tmp_path: Path
) -> None:
    with pytest.raises(IsADirectory, match="is a directory"):
        write_archive(store, image, tmp_path)
    with pytest.raises(PathNotFound, match="no such file"):
        write_archive(store, image, tmp_path / "missing" / "image.tar")


def test_several_platforms_are_one_index(store: Store, make_tree: MakeTree, tmp_path: Path) -> None:
    layers = {p: (snapshot_of(store, make_tree({"f": str(p)})),) for p in (ARM, AMD)}
    parts = [Part(config=ImageConfig(platform=p), layers=layers[p]) for p in (ARM, AMD)]
    image = assemble(store, parts)
    target = tmp_path / "image.tar"
    write_archive(store, image, target)
    assert validate(target, scratch=tmp_path) == 2
    for platform in (ARM, AMD):
        found = read_archive(store, target, platform=platform)
        assert found.config.platform == platform
        assert store.tree(found.layers).read("/f") == str(platform).encode()
    with pytest.raises(ArchiveInvalid, match=r"no match for platform linux/s390x.*not found"):
        read_archive(store, target, platform=Platform.parse("linux/s390x"))


@pytest.mark.parametrize("media_types", list(MediaTypes))
@pytest.mark.parametrize("compression", list(Compression))
def test_every_form_comes_back_the_same(
    store: Store,
    make_tree: MakeTree,
    tmp_path: Path,
    compression: Compression,
    media_types: MediaTypes,
) -> None:
    part = Part(
        config=ImageConfig(platform=AMD, cmd=("x",)),
        layers=(snapshot_of(store, make_tree({"f": "x" * 5000})),),
        annotations=(("org.example.k", "v"),),
    )
    image = assemble(store, [part], compression=compression, media_types=media_types)
    target = tmp_path / "image.tar"
    write_archive(store, image, target)
    assert validate(target, scratch=tmp_path) == 1
    found = read_archive(store, target, platform=AMD)
    assert found.config.cmd == ("x",)
    assert found.annotations == (("org.example.k", "v"),)
    assert store.tree(found.layers).read("/f") == b"x" * 5000
    assert layer_blob(store, found.layers[0]).digest == image.layers[0].digest


def test_repacking_keeps_the_diff_ids(store: Store, image: AssembledImage, tmp_path: Path) -> None:
    target = tmp_path / "image.tar"
    write_archive(store, image, target)
    found = read_archive(store, target, platform=AMD)
    part = Part(config=found.config, layers=found.layers)
    zstd = assemble(store, [part], compression=Compression.ZSTD, epoch=1)
    write_archive(store, zstd, target)
    assert read_archive(store, target, platform=AMD).diff_ids == found.diff_ids


def test_layers_above_the_epoch_are_clamped_and_others_kept(
    store: Store, make_tree: MakeTree, tmp_path: Path
) -> None:
    base = snapshot_of(store, make_tree({"f": "base"}))
    write_archive(
        store,
        assemble(store, [Part(config=ImageConfig(platform=AMD), layers=(base,))]),
        tmp_path / "base.tar",
    )
    taken = read_archive(store, tmp_path / "base.tar", platform=AMD)
    new = snapshot_of(store, make_tree({"g": "new"}))
    part = Part(config=taken.config, layers=(*taken.layers, new))
    image = assemble(store, [part], epoch=500)
    assert image.layers[0].digest == taken.blobs[0].digest
    with store.blobs.open(image.layers[1].digest) as file:
        packed = io.BytesIO(file.read())
    with tarfile.open(fileobj=packed, mode="r:gz") as archive:
        found = archive.getmembers()
    assert max(m.mtime for m in found) == 500
    config = json.loads(image.document(image.manifests[0].config.digest))
    assert config["created"] == "1970-01-01T00:08:20Z"
    assert [entry["created"] for entry in config["history"]] == [
        "1970-01-01T00:00:00Z",
        "1970-01-01T00:08:20Z",
    ]


def test_skopeo_and_umoci_read_it(store: Store, image: AssembledImage, tmp_path: Path) -> None:
    skopeo, umoci = tool("skopeo"), tool("umoci")
    target, unpacked = tmp_path / "image.tar", tmp_path / "layout"
    write_archive(store, image, target, reference=NAME)
    for form in ("oci-archive", "docker-archive"):
        done = command.run([skopeo, "inspect", "--config", f"{form}:{target}"])
        assert json.loads(done.stdout)["config"]["Env"] == ["A=b"]
    unpacked.mkdir()
    write_layout(store, image, unpacked, reference=NAME)
    assert validate(unpacked, scratch=tmp_path) == 1
    command.run([umoci, "unpack", "--rootless", "--image", f"{unpacked}:1.0", tmp_path / "bundle"])
    assert (tmp_path / "bundle/rootfs/etc/f").read_text() == "one"
    assert (tmp_path / "bundle/rootfs/etc/g").read_text() == "2"


def test_a_layout_has_the_files_of_the_store_read_only(
    store: Store, image: AssembledImage, tmp_path: Path
) -> None:
    layout = tmp_path / "layout"
    layout.mkdir()
    assert write_layout(store, image, layout)
    assert not write_layout(store, image, layout)
    for layer in image.layers:
        blob = layout / "blobs/sha256" / layer.digest.removeprefix("sha256:")
        assert blob.samefile(store.blobs.path(layer.digest))
        assert stat.S_IMODE(blob.stat().st_mode) == 0o444
    index = (layout / "index.json").stat()
    assert (index.st_nlink, stat.S_IMODE(index.st_mode)) == (1, 0o644)
    store.blobs.path(image.layers[0].digest).unlink()  # as pruning does
    assert validate(layout, scratch=tmp_path) == 1


def test_a_layout_replaces_a_blob_of_another_size(
    store: Store, image: AssembledImage, tmp_path: Path
) -> None:
    layout = tmp_path / "layout"
    place = layout / "blobs/sha256" / image.layers[0].digest.removeprefix("sha256:")
    place.parent.mkdir(parents=True)
    place.write_bytes(b"half")
    assert write_layout(store, image, layout)
    assert place.samefile(store.blobs.path(image.layers[0].digest))
    assert {len(each.name) for each in place.parent.iterdir()} == {64}


def test_a_layout_on_another_file_system_has_copies(store: Store, image: AssembledImage) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == store.root.stat().st_dev:
        pytest.skip("/dev/shm is not another file system")
    with tempfile.TemporaryDirectory(dir=memory) as name:
        assert write_layout(store, image, Path(name))
        for layer in image.layers:
            blob = Path(name, "blobs/sha256", layer.digest.removeprefix("sha256:"))
            assert blob.read_bytes() == store.blobs.read(layer.digest)
            assert blob.stat().st_nlink == 1


def test_what_docker_saves_is_imported(store: Store, image: AssembledImage, tmp_path: Path) -> None:
    skopeo = tool("skopeo")
    target, saved = tmp_path / "image.tar", tmp_path / "docker.tar"
    write_archive(store, image, target)
    argv = [skopeo, "copy", f"oci-archive:{target}", f"docker-archive:{saved}:me/app:2"]
    command.run([str(word) for word in argv])
    found = read_archive(store, saved, platform=AMD, tag="me/app:2")
    assert found.config.env == (("A", "b"),)
    assert store.tree(found.layers).read("/l/g") == b"2"
    assert read_archive(store, saved, platform=AMD).layers == found.layers
    with pytest.raises(ArchiveInvalid, match="not found"):
        read_archive(store, saved, platform=AMD, tag="other")


@pytest.mark.parametrize("data", [b"", b"not a tar", bytes(10_240), os.urandom(4096)])
def test_what_is_no_image_is_refused(store: Store, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ArchiveInvalid):
        read_archive(store, tmp_path / "x", platform=AMD)
