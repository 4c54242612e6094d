"""Broken layouts: twelve that some tool accepts, and more; validation and import refuse each."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from layerline.engine.image.archive import write_layout
from layerline.engine.image.archive_reader import read_archive
from layerline.engine.image.config import ImageConfig
from layerline.engine.image.platform import Platform
from layerline.engine.image.validate import validate
from layerline.engine.store.store import Store
from layerline.errors import LayerlineError
from tests.images import image_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.image.conftest import MakeTree

AMD = Platform.parse("linux/amd64")
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


class Layout:
    """A layout whose documents can be changed, with or without updating the digests above."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def document(self, digest: str) -> dict[str, Any]:
        return dict(json.loads(self.blob(digest).read_bytes()))

    def blob(self, digest: str) -> Path:
        return self.root / "blobs" / digest.replace(":", "/")

    def put_blob(self, data: bytes) -> tuple[str, int]:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.blob(digest).write_bytes(data)
        return digest, len(data)

    def index(self) -> dict[str, Any]:
        return dict(json.loads((self.root / "index.json").read_bytes()))

    def set_index(self, document: dict[str, Any]) -> None:
        (self.root / "index.json").write_text(json.dumps(document))

    def manifest(self) -> dict[str, Any]:
        return self.document(self.index()["manifests"][0]["digest"])

    def set_manifest(self, document: dict[str, Any]) -> None:
        index = self.index()
        digest, size = self.put_blob(json.dumps(document).encode())
        index["manifests"][0] |= {"digest": digest, "size": size}
        self.set_index(index)

    def change_manifest(self, change: Callable[[dict[str, Any]], object]) -> None:
        document = self.manifest()
        change(document)
        self.set_manifest(document)

    def change_config(self, change: Callable[[dict[str, Any]], object]) -> None:
        manifest = self.manifest()
        config = self.document(manifest["config"]["digest"])
        change(config)
        digest, size = self.put_blob(json.dumps(config).encode())
        manifest["config"] |= {"digest": digest, "size": size}
        self.set_manifest(manifest)

    def layer(self) -> Path:
        return self.blob(self.manifest()["layers"][0]["digest"])


def set_layer(**members: object) -> Callable[[Layout], None]:
    return lambda layout: layout.change_manifest(lambda m: m["layers"][0].update(members))


def set_top(**members: object) -> Callable[[Layout], None]:
    def change(layout: Layout) -> None:
        index = layout.index()
        index["manifests"][0] |= members
        layout.set_index(index)

    return change


def damage(path: Callable[[Layout], Path]) -> Callable[[Layout], None]:
    def change(layout: Layout) -> None:
        place = path(layout)
        data = place.read_bytes()
        place.write_bytes(data[:20] + bytes([data[20] ^ 1]) + data[21:])

    return change


BROKEN: dict[str, Callable[[Layout], object]] = {
    "wrong diff id": lambda x: x.change_config(
        lambda c: c["rootfs"].update(diff_ids=["sha256:" + "0" * 64])
    ),
    "one diff id too many": lambda x: x.change_config(
        lambda c: c["rootfs"]["diff_ids"].append("sha256:" + "0" * 64)
    ),
    "no diff ids": lambda x: x.change_config(lambda c: c.pop("rootfs")),
    "wrong layer size": set_layer(size=1),
    "negative layer size": set_layer(size=-1),
    "wrong layer media type": set_layer(mediaType="application/vnd.oci.image.layer.v1.tar"),
    "unknown layer media type": set_layer(mediaType="text/plain"),
    "layer bytes changed": damage(lambda x: x.layer()),
    "layer cut short": lambda x: x.layer().write_bytes(x.layer().read_bytes()[:-7]),
    "layer with more at its end": lambda x: x.layer().write_bytes(x.layer().read_bytes() + b"x"),
    "layer missing": lambda x: x.layer().unlink(),
    "layer is not a tar": lambda x: x.change_manifest(
        lambda m: m["layers"][0].update(
            dict(zip(("digest", "size"), x.put_blob(b"\x1f\x8bnothing"), strict=True))
        )
    ),
    "config missing": lambda x: x.blob(x.manifest()["config"]["digest"]).unlink(),
    "config bytes changed": damage(lambda x: x.blob(x.manifest()["config"]["digest"])),
    "config of another kind": lambda x: x.change_manifest(
        lambda m: m["config"].update(mediaType="application/json")
    ),
    "manifest bytes changed": damage(lambda x: x.blob(x.index()["manifests"][0]["digest"])),
    "wrong manifest size": set_top(size=3),
    "manifest missing": set_top(digest="sha256:" + "1" * 64),
    "manifest that is an index too": lambda x: x.change_manifest(lambda m: m.update(manifests=[])),
    "manifest called an index": set_top(mediaType="application/vnd.oci.image.index.v1+json"),
    "manifest calls itself another": lambda x: x.change_manifest(
        lambda m: m.update(mediaType="application/vnd.oci.image.index.v1+json")
    ),
    "schema version 1": lambda x: x.change_manifest(lambda m: m.update(schemaVersion=1)),
    "digest as a path": set_top(digest="sha256:../../../etc/passwd"),
    "digest in upper case": lambda x: set_top(
        digest=x.index()["manifests"][0]["digest"].upper().replace("SHA", "sha")
    )(x),
    "digest of another algorithm": set_top(digest="sha512:" + "0" * 128),
    "no layout file": lambda x: (x.root / "oci-layout").unlink(),
    "layout of version 9": lambda x: (x.root / "oci-layout").write_text(
        '{"imageLayoutVersion":"9.0.0"}'
    ),
    "index is not JSON": lambda x: (x.root / "index.json").write_text("{"),
    "index nests without end": lambda x: (x.root / "index.json").write_text("[" * 100_000),
    "index is a list": lambda x: (x.root / "index.json").write_text("[]"),
    "nothing in the index": lambda x: x.set_index({"schemaVersion": 2, "manifests": []}),
}


@pytest.fixture
def layout(tmp_path: Path, make_tree: MakeTree) -> Layout:
    """A sound layout, made in a store of its own."""
    with Store.open(tmp_path / "maker") as maker:
        image = image_of(maker, make_tree({"f": "x"}), config=ImageConfig(platform=AMD))
        write_layout(maker, image, tmp_path / "layout")
    return Layout(tmp_path / "layout")


def test_a_sound_layout_is_accepted(layout: Layout, store: Store, tmp_path: Path) -> None:
    assert validate(layout.root, scratch=tmp_path) == 1
    layout.change_config(lambda config: config.update(author="someone"))
    assert validate(layout.root, scratch=tmp_path) == 1
    assert read_archive(store, layout.root, platform=AMD).config.author == "someone"


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_layout_is_refused(
    layout: Layout, store: Store, tmp_path: Path, case: str
) -> None:
    BROKEN[case](layout)
    with pytest.raises(LayerlineError):
        validate(layout.root, scratch=tmp_path)
    with pytest.raises(LayerlineError):
        read_archive(store, layout.root, platform=AMD)
    assert list((store.root / "snapshots").iterdir()) == []


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("known", ["unpacked here", "packed here"])
def test_a_broken_layout_is_refused_when_its_blobs_are_known(
    layout: Layout, store: Store, tmp_path: Path, case: str, known: str
) -> None:
    """What is given is verified, as `docker load` and skopeo verify it, known or not."""
    with Store.open(tmp_path / "maker") as maker:
        target = store if known == "unpacked here" else maker
        read_archive(target, layout.root, platform=AMD)
        before = sorted(path.name for path in (target.root / "snapshots").iterdir())
        BROKEN[case](layout)
        with pytest.raises(LayerlineError):
            read_archive(target, layout.root, platform=AMD)
        assert sorted(path.name for path in (target.root / "snapshots").iterdir()) == before


def test_a_history_with_another_number_of_layers_is_refused(layout: Layout, tmp_path: Path) -> None:
    layout.change_config(lambda config: config["history"].append({"created_by": "x"}))
    with pytest.raises(LayerlineError, match="history lists 2 layers"):
        validate(layout.root, scratch=tmp_path)
