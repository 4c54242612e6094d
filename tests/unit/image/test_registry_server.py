"""The pull part of the OCI distribution specification 1.1, over HTTP, and the served forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest

from layerline.engine.image.assemble import Part, assemble
from layerline.engine.image.config import ImageConfig
from layerline.engine.image.manifests import FAMILIES, Compression, MediaTypes
from layerline.engine.image.pack import layer_blob
from layerline.engine.image.registry.credentials import Login
from layerline.engine.image.registry_server.application import RegistryApplication, Traffic
from layerline.engine.image.registry_server.content import (
    OneImage,
    ServedRepository,
    repository_of,
)
from layerline.engine.image.registry_server.served_layers import ServedLayers
from layerline.engine.image.registry_server.server import serve_registry
from layerline.engine.store.digest import digest_bytes
from tests.images import snapshot_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.engine.image.assemble import AssembledImage
    from layerline.engine.image.manifests import Descriptor
    from layerline.engine.store.store import Store
    from tests.unit.image.conftest import MakeTree

OCI = FAMILIES[MediaTypes.OCI]
LOGIN = Login(username="me", secret="geheim")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A served image, of a layer with a blob in the store and one that has none."""

    image: AssembledImage
    http: httpx.Client
    traffic: Traffic

    @property
    def packed(self) -> Descriptor:
        return self.image.layers[0]

    @property
    def plain(self) -> Descriptor:
        return self.image.layers[1]


@pytest.fixture
def served(store: Store, make_tree: MakeTree) -> Iterator[Served]:
    first, second = (snapshot_of(store, make_tree({"f": text * 9000})) for text in ("ab", "cd"))
    layer_blob(store, first)
    layers = ServedLayers(store=store)
    part = Part(config=ImageConfig(), layers=(first, second))
    image = assemble(store, [part], blob_of=layers.layer)
    tags = {"a": image.root.digest, "b": image.root.digest, "c": image.root.digest}
    repository = repository_of(image, content_of=layers.content, tags=tags)
    application = RegistryApplication(catalog=OneImage("some/path", repository))
    with (
        serve_registry(application) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
    ):
        yield Served(image=image, http=http, traffic=application.traffic)


def test_a_manifest_is_found_by_tag_and_by_digest(served: Served) -> None:
    root = served.image.root
    assert served.http.get("/v2/").status_code == 200
    for which in ("a", root.digest):
        path = f"/v2/some/path/manifests/{which}"
        found, head = served.http.get(path), served.http.head(path)
        assert found.content == served.image.document(root.digest)
        assert head.content == b""
        for answer in (found, head):
            assert answer.status_code == 200
            assert answer.headers["Content-Type"] == OCI.manifest
            assert answer.headers["Docker-Content-Digest"] == root.digest
            assert answer.headers["Content-Length"] == str(root.size)


def test_blobs_have_the_bytes_of_their_digests(served: Served) -> None:
    config = served.image.manifests[0].config
    for blob in (config, served.packed, served.plain):
        path = f"/v2/some/path/blobs/{blob.digest}"
        found, head = served.http.get(path), served.http.head(path)
        assert digest_bytes(found.content) == blob.digest
        assert (head.status_code, head.content) == (200, b"")
        for answer in (found, head):
            assert answer.headers["Content-Length"] == str(blob.size) == str(len(found.content))
            assert answer.headers["Docker-Content-Digest"] == blob.digest
    assert served.packed.media_type == OCI.layers[Compression.GZIP]
    assert served.plain.media_type == OCI.layers[Compression.UNCOMPRESSED]
    assert set(served.traffic.blobs) == {config.digest, served.packed.digest, served.plain.digest}


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=10-19", 10, 20), ("bytes=7-", 7, None), ("bytes=-5", -5, None)],
)
def test_a_range_of_a_blob(served: Served, asked: str, start: int, end: int | None) -> None:
    """RFC 9110, 14.1.2: both ends count, and a suffix is counted from the end."""
    for blob in (served.packed, served.plain):
        path = f"/v2/some/path/blobs/{blob.digest}"
        whole = served.http.get(path).content
        found = served.http.get(path, headers={"Range": asked})
        assert found.status_code == 206
        assert found.content == whole[start:end]
        first = start % blob.size
        last = first + len(found.content) - 1
        assert found.headers["Content-Range"] == f"bytes {first}-{last}/{blob.size}"


def test_a_range_beyond_the_end_is_refused(served: Served) -> None:
    path = f"/v2/some/path/blobs/{served.packed.digest}"
    found = served.http.get(path, headers={"Range": f"bytes={served.packed.size}-"})
    assert found.status_code == 416
    assert found.headers["Content-Range"] == f"bytes */{served.packed.size}"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("other/manifests/a", "NAME_UNKNOWN"),
        ("some/path/manifests/none", "MANIFEST_UNKNOWN"),
        (f"some/path/blobs/sha256:{'0' * 64}", "BLOB_UNKNOWN"),
    ],
)
def test_what_is_missing_has_the_code_of_the_specification(
    served: Served, path: str, code: str
) -> None:
    found = served.http.get(f"/v2/{path}")
    assert found.status_code == 404
    assert found.json()["errors"][0]["code"] == code


def test_nothing_is_written(served: Served) -> None:
    for method, path in (
        ("POST", "some/path/blobs/uploads/"),
        ("PUT", "some/path/manifests/new"),
        ("DELETE", "some/path/manifests/a"),
    ):
        found = served.http.request(method, f"/v2/{path}", content=b"{}")
        assert found.status_code == 405
        assert found.json()["errors"][0]["code"] == "UNSUPPORTED"


def test_tags_are_listed_in_pages_and_the_name_is_not(served: Served) -> None:
    found = served.http.get("/v2/some/path/tags/list", params={"n": 2})
    assert found.json() == {"name": "some/path", "tags": ["a", "b"]}
    link, _, relation = found.headers["Link"].partition("; ")
    assert relation == 'rel="next"'
    assert served.http.get(link.strip("<>")).json()["tags"] == ["c"]
    assert served.http.get("/v2/_catalog").json() == {"repositories": []}


def test_referrers_are_an_empty_index(served: Served) -> None:
    """The specification asks for it of every registry: 404 would mean that it is not supported."""
    found = served.http.get(f"/v2/some/path/referrers/{served.image.root.digest}")
    assert found.headers["Content-Type"] == OCI.index
    assert found.json()["manifests"] == []


def test_a_login_is_asked_for() -> None:
    repository = ServedRepository(documents={}, blobs={})
    application = RegistryApplication(catalog=OneImage("x", repository), login=LOGIN)
    with serve_registry(application) as port:
        url = f"http://127.0.0.1:{port}/v2/"
        refused = httpx.get(url, trust_env=False)
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"].startswith("Basic realm=")
        for secret, status in ((LOGIN.secret, 200), (LOGIN.secret[:-1], 401)):
            found = httpx.get(url, auth=(LOGIN.username, secret), trust_env=False)
            assert found.status_code == status


def test_a_damaged_blob_breaks_off_and_is_removed(
    served: Served, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    """Who pulls it gets no complete answer, and whoever runs the command no traceback."""
    place = store.blobs.path(served.packed.digest)
    place.chmod(0o644)
    place.write_bytes(b"x" * served.packed.size)
    with pytest.raises(httpx.TransportError):
        served.http.get(f"/v2/some/path/blobs/{served.packed.digest}")
    assert not place.exists()
    assert capfd.readouterr().err == ""


def test_a_layer_keeps_the_form_that_a_daemon_has_seen(store: Store, make_tree: MakeTree) -> None:
    """Docker knows a layer by the digest that it pulled: another form would travel again."""
    snapshot = snapshot_of(store, make_tree({"f": "x"}))
    first = ServedLayers(store=store).layer(snapshot)
    packed = layer_blob(store, snapshot)
    assert first.digest == first.diff_id == packed.diff_id != packed.digest
    assert ServedLayers(store=store).layer(snapshot) == first


def test_an_image_has_the_same_configuration_in_every_form(
    store: Store, make_tree: MakeTree
) -> None:
    """Its digest is the image id in docker and podman."""
    part = Part(config=ImageConfig(), layers=(snapshot_of(store, make_tree({"f": "x"})),))
    plain = assemble(store, [part], blob_of=ServedLayers(store=store).layer)
    assert plain.manifests[0].config == assemble(store, [part]).manifests[0].config
