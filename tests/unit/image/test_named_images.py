"""What `layerline registry` serves of a store: images with a name, while their bytes are there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from layerline import command
from layerline.engine.image.assemble import Part, assemble
from layerline.engine.image.config import ImageConfig
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry.credentials import Login
from layerline.engine.image.registry_server.named_images import NamedImages, remember_image
from layerline.engine.image.registry_server.served_layers import ServedLayers
from layerline.engine.image.registry_server.server import serve_images
from layerline.engine.store.pruning import prune
from layerline.engine.store.store import Store
from tests.images import image_of, snapshot_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layerline.engine.image.assemble import AssembledImage
    from tests.unit.image.conftest import MakeTree

LOGIN = Login(username="me", secret="geheim")


@pytest.fixture
def root(tmp_path: Path, make_tree: MakeTree) -> Path:
    """A store with a published image of compressed layers and a loaded one of plain tars."""
    place = tmp_path / "store"
    with Store.open(place) as store:
        packed = image_of(store, make_tree({"f": "packed"}))
        remember_image(store, packed, Reference.parse("example.com/team/app:1"))
        layers = ServedLayers(store=store)
        part = Part(config=ImageConfig(), layers=(snapshot_of(store, make_tree({"f": "tar"})),))
        plain = assemble(store, [part], blob_of=layers.layer)
        remember_image(store, plain, Reference.parse("loaded"), tars=layers.tars)
    return place


@pytest.fixture
def address(root: Path) -> Iterator[str]:
    """Where its images are served."""
    with serve_images(root, host="127.0.0.1", port=0, login=LOGIN) as port:
        yield f"127.0.0.1:{port}"


def test_skopeo_copies_published_and_loaded_images(address: str, tmp_path: Path) -> None:
    program = command.find("skopeo")
    if program is None:
        pytest.skip("skopeo is not installed")
    login = f"--src-creds={LOGIN.username}:{LOGIN.secret}"
    for name in ("team/app:1", "library/loaded:latest"):
        target = tmp_path / name.partition("/")[2].partition(":")[0]
        argv: list[str | Path] = [
            program,
            "copy",
            "--src-tls-verify=false",
            login,
            f"docker://{address}/{name}",
        ]
        command.run([*argv, f"dir:{target}"])
        manifest = json.loads((target / "manifest.json").read_bytes())
        assert (target / manifest["config"]["digest"].removeprefix("sha256:")).is_file()
        for layer in manifest["layers"]:  # skopeo has compared digests
            assert (target / layer["digest"].removeprefix("sha256:")).is_file()


def test_without_the_login_nothing_is_listed(address: str) -> None:
    url = f"http://{address}/v2/_catalog"
    assert httpx.get(url, trust_env=False).status_code == 401
    found = httpx.get(url, auth=(LOGIN.username, LOGIN.secret), trust_env=False)
    assert found.json() == {"repositories": ["library/loaded", "team/app"]}


def test_pruning_goes_on_and_what_it_removed_is_not_served(root: Path, address: str) -> None:
    auth = (LOGIN.username, LOGIN.secret)
    for name in ("team/app/manifests/1", "library/loaded/manifests/latest"):
        url = f"http://{address}/v2/{name}"
        assert httpx.get(url, auth=auth, trust_env=False).status_code == 200
    prune(root, keep_bytes=0)
    for name in ("team/app/manifests/1", "library/loaded/manifests/latest"):
        url = f"http://{address}/v2/{name}"
        assert httpx.get(url, auth=auth, trust_env=False).status_code == 404


def test_a_name_has_the_latest_image(tmp_path: Path, make_tree: MakeTree) -> None:
    place = tmp_path / "store"
    made: list[AssembledImage] = []
    with Store.open(place) as store:
        for text in ("one", "two"):
            made.append(image_of(store, make_tree({"f": text})))
            remember_image(store, made[-1], Reference.parse("example.com/app:1"))
    found = NamedImages(place).find("app")
    assert found is not None
    assert found.tags == {"1": made[1].root.digest}
