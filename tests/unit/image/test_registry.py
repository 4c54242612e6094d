"""Registries, a real one and one that misbehaves: what arrives, and who gets to see the login."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest

from layerline import command
from layerline.engine.image.assemble import AssembledImage, Part, assemble
from layerline.engine.image.config import ImageConfig
from layerline.engine.image.manifests import FAMILIES, MediaTypes
from layerline.engine.image.platform import Platform
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry.client import same_owner
from layerline.engine.image.registry.connections import Registries
from layerline.engine.image.registry.credentials import Credentials, Login, registry_of
from layerline.engine.image.registry.repository import Repository
from layerline.engine.image.resolve import Resolver
from layerline.engine.store.store import Store
from layerline.errors import (
    ArchiveInvalid,
    ImageNotFound,
    RegistryDenied,
    RegistryUnreachable,
)
from layerline.settings import Settings
from tests.images import image_of, snapshot_of
from tests.unit.image.fake_registry import Asked, Fake, fake_registry

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.image.conftest import MakeTree

AMD = Platform.parse("linux/amd64")
OCI = FAMILIES[MediaTypes.OCI]
LOGIN = Login(username="me", secret="geheim")
NOTHING = "127.0.0.1:1"


@pytest.fixture
def fake() -> Iterator[Fake]:
    """A registry that fails on request."""
    with fake_registry() as made:
        yield made


@pytest.fixture
def other() -> Iterator[Fake]:
    """Another host."""
    with fake_registry() as made:
        yield made


@pytest.fixture
def image(store: Store, make_tree: MakeTree) -> AssembledImage:
    """An image of two layers."""
    config = ImageConfig(platform=AMD, env=(("A", "b"),))
    return image_of(store, make_tree({"f": "one"}), make_tree({"g": "x" * 100_000}), config=config)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Store]:
    """A second store, which knows nothing."""
    with Store.open(tmp_path / "elsewhere") as store:
        yield store


def registries(
    tmp_path: Path, *, mirrors: Mapping[str, tuple[str, ...]] | None = None
) -> Registries:
    settings = Settings(
        store=tmp_path, home=tmp_path, config=tmp_path / "config.toml", mirrors=mirrors or {}
    )
    return Registries(settings=settings, credentials=Credentials.of(settings))


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[..., Repository]]:
    """A repository at an address, with or without login, that waits little between tries."""
    made = []

    def make(address: str, name: str = "app:1", login: Login | None = None) -> Repository:
        settings = Settings(store=tmp_path, home=tmp_path, config=tmp_path / "c.toml")
        given = {address: login} if login else {}
        made.append(Registries(settings=settings, credentials=Credentials.of(settings, given)))
        repository = made[-1].registry(Reference.parse(f"{address}/{name}"))
        repository.endpoint.pause = 0.01
        return repository

    yield make
    for registry in made:
        registry.close()


Connect = Callable[..., Repository]


def resolver(store: Store, tmp_path: Path) -> Resolver:
    return Resolver(store=store, registries=registries(tmp_path))


def test_what_is_pushed_can_be_pulled_bit_exact(
    store: Store,
    elsewhere: Store,
    image: AssembledImage,
    registry: str,
    connect: Connect,
    tmp_path: Path,
) -> None:
    connect(registry, "round/trip:1").push(store, image)
    seen: list[tuple[int, int]] = []
    found = replace(resolver(elsewhere, tmp_path), on_bytes=lambda *counts: seen.append(counts))
    pulled = found.resolve(Reference.parse(f"{registry}/round/trip:1"), AMD)
    size = sum(layer.size for layer in image.layers)
    assert seen[-1] == (size, size)
    assert pulled.origin == "registry"
    assert pulled.reference is not None
    assert pulled.reference.digest == image.root.digest
    assert [blob.digest for blob in pulled.blobs] == [layer.digest for layer in image.layers]
    assert elsewhere.tree(pulled.layers).read("/f") == b"one"
    again = assemble(elsewhere, [Part(config=pulled.config, layers=pulled.layers)])
    assert again.root.digest == image.root.digest
    assert found.resolve(pulled.reference, AMD).origin == "store"
    found.registries.close()


def test_skopeo_reads_what_was_pushed(
    store: Store, image: AssembledImage, registry: str, connect: Connect, tmp_path: Path
) -> None:
    skopeo = command.find("skopeo")
    if skopeo is None:
        pytest.skip("skopeo is not installed")
    connect(registry, "for/skopeo:1").push(store, image)
    argv: list[str | Path] = [
        skopeo,
        "inspect",
        "--tls-verify=false",
        f"docker://{registry}/for/skopeo:1",
    ]
    assert json.loads(command.run(argv, env={"HOME": str(tmp_path)}).stdout)["Env"] == ["A=b"]


def test_several_platforms_go_and_come(
    store: Store, elsewhere: Store, make_tree: MakeTree, registry: str, connect: Connect,
    tmp_path: Path,
) -> None:  # fmt: skip
    parts = [
        Part(
            config=ImageConfig(platform=Platform.parse(name)),
            layers=(snapshot_of(store, make_tree({"f": name})),),
        )
        for name in ("linux/amd64", "linux/arm64")
    ]
    made = assemble(store, parts)
    connect(registry, "multi:1").push(store, made)
    found = resolver(elsewhere, tmp_path)
    for name in ("linux/amd64", "linux/arm64"):
        pulled = found.resolve(Reference.parse(f"{registry}/multi:1"), Platform.parse(name))
        assert elsewhere.tree(pulled.layers).read("/f") == name.encode()
        assert pulled.reference is not None
        assert pulled.reference.digest == made.root.digest
    with pytest.raises(ArchiveInvalid, match="not found"):
        found.resolve(Reference.parse(f"{registry}/multi:1"), Platform.parse("linux/s390x"))
    found.registries.close()


def test_a_mirror_is_asked_first_and_the_store_last(
    store: Store,
    elsewhere: Store,
    image: AssembledImage,
    fake: Fake,
    connect: Connect,
    tmp_path: Path,
) -> None:
    connect(fake.address, "library/thing:1").push(store, image)
    wanted = Reference.parse(f"{NOTHING}/library/thing:1")
    mirrored = registries(tmp_path, mirrors={NOTHING: (f"http://{fake.address}",)})
    first = Resolver(store=elsewhere, registries=mirrored).resolve(wanted, AMD)
    assert first.reference is not None
    assert first.reference.name == f"{NOTHING}/library/thing"
    mirrored.close()
    alone = resolver(elsewhere, tmp_path)
    assert alone.resolve(wanted, AMD).origin == "store"
    # What the tag was last is not what another digest asks for.
    assert alone.resolve(wanted.with_digest(image.root.digest), AMD).origin == "store"
    with pytest.raises(RegistryUnreachable, match="connection refused"):
        alone.resolve(wanted.with_digest("sha256:" + "0" * 64), AMD)
    alone.registries.close()


def test_nothing_listens(
    store: Store, tmp_path: Path, connect: Connect, image: AssembledImage
) -> None:
    found = resolver(store, tmp_path)
    with pytest.raises(RegistryUnreachable, match=r"dial tcp 127\.0\.0\.1:1: .*connection refused"):
        found.resolve(Reference.parse(f"{NOTHING}/x/y:z"), AMD)
    found.registries.close()
    with pytest.raises(RegistryUnreachable, match="connection refused"):
        connect(NOTHING).push(store, image)


def test_an_image_that_is_not_there(store: Store, registry: str, tmp_path: Path) -> None:
    found = resolver(store, tmp_path)
    with pytest.raises(ImageNotFound, match=f"{registry}/no/such:nope: not found"):
        found.resolve(Reference.parse(f"{registry}/no/such:nope"), AMD)
    found.registries.close()


def test_blobs_that_are_there_are_not_sent_again(
    store: Store, image: AssembledImage, fake: Fake, connect: Connect
) -> None:
    connect(fake.address).push(store, image)
    fake.asked.clear()
    connect(fake.address).push(store, image)
    assert [a.method for a in fake.asked] == ["HEAD", "HEAD", "HEAD", "PUT"]


def test_several_layers_are_asked_for_at_once(
    store: Store, make_tree: MakeTree, fake: Fake, connect: Connect
) -> None:
    image = image_of(store, *(make_tree({"f": str(number)}) for number in range(5)))
    at_once = threading.Barrier(5, timeout=30)
    layers = {layer.digest for layer in image.layers}

    def trouble(asked: Asked) -> None:
        if asked.method == "HEAD" and asked.path.rpartition("/")[2] in layers:
            at_once.wait()

    fake.trouble = trouble
    connect(fake.address).push(store, image)
    assert layers <= fake.blobs.keys()


def test_layers_of_another_repository_are_mounted(
    store: Store, image: AssembledImage, registry: str, connect: Connect
) -> None:
    connect(registry, "mount/base:1").push(store, image)
    target = connect(registry, "mount/derived:1")
    target.push(store, image, sources=[Reference.parse(f"{registry}/mount/base:1")])
    assert target.manifest("1").descriptor.digest == image.root.digest


TROUBLES: dict[str, tuple[int, dict[str, str]]] = {
    "429": (429, {"Retry-After": "0"}),
    "500": (500, {}),
    "503": (503, {}),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_push_converges_whatever_request_fails(
    store: Store, image: AssembledImage, connect: Connect, trouble: str
) -> None:
    for failing in range(12):
        with fake_registry() as fake:
            count = iter(range(1000))
            fake.trouble = lambda _, n=failing, c=count: (  # type: ignore[misc]
                TROUBLES[trouble] if next(c) == n else None
            )
            connect(fake.address).push(store, image)
            assert fake.manifests["1"][1] == image.document(image.root.digest)
            assert set(fake.blobs) == {
                image.manifests[0].config.digest,
                *(layer.digest for layer in image.layers),
            }
            assert fake.incomplete == []


def test_a_registry_that_stays_broken_gets_no_tag(
    store: Store, image: AssembledImage, fake: Fake, connect: Connect
) -> None:
    fake.trouble = lambda asked: (500, {}) if asked.method == "PUT" else None
    with pytest.raises(RegistryUnreachable, match="unexpected status 500"):
        connect(fake.address).push(store, image)
    assert fake.manifests == {}


def test_a_download_goes_on_where_it_was_cut(
    store: Store, elsewhere: Store, image: AssembledImage, fake: Fake, connect: Connect
) -> None:
    connect(fake.address).push(store, image)
    layer = image.layers[1]
    fake.asked.clear()
    cuts = iter([True, True])
    fake.trouble = lambda _: "cut" if next(cuts, False) else None
    connect(fake.address).fetch(elsewhere, layer)
    assert elsewhere.blobs.has(layer.digest)
    half = layer.size // 2
    ranges = [asked.headers.get("range") for asked in fake.asked]
    assert ranges == [None, f"bytes={half}-", f"bytes={half + (layer.size - half) // 2}-"]


def test_wrong_bytes_are_refused(
    store: Store, elsewhere: Store, image: AssembledImage, fake: Fake, connect: Connect
) -> None:
    connect(fake.address).push(store, image)
    repository = connect(fake.address)
    digest = image.layers[0].digest
    right = fake.blobs[digest]
    for wrong in (bytes([right[0] ^ 1]) + right[1:], right + b"more"):
        fake.blobs[digest] = wrong
        with pytest.raises(ArchiveInvalid):
            repository.fetch(elsewhere, image.layers[0])
    assert not elsewhere.blobs.has(digest)
    fake.manifests[image.root.digest] = (OCI.manifest, b"{}")
    with pytest.raises(ArchiveInvalid, match="content does not match its digest"):
        repository.manifest(image.root.digest)


def bearer(realm: str) -> Callable[[Asked], tuple[int, dict[str, str]] | None]:
    challenge = f'Bearer realm="{realm}",service="s"'

    def trouble(asked: Asked) -> tuple[int, dict[str, str]] | None:
        if asked.headers.get("authorization", "").startswith("Bearer "):
            return None
        return 401, {"WWW-Authenticate": challenge}

    return trouble


def test_a_token_service_of_the_registry_gets_the_login(
    store: Store, image: AssembledImage, fake: Fake, connect: Connect
) -> None:
    basic = bearer(f"http://{fake.address}/v2/auth/blobs/token")
    fake.blobs["token"] = b'{"token":"t0ken"}'
    fake.trouble = lambda asked: None if "/auth/" in asked.path else basic(asked)
    connect(fake.address, login=LOGIN).push(store, image)
    tokens = [asked for asked in fake.asked if "/auth/" in asked.path]
    assert all(asked.headers["authorization"].startswith("Basic ") for asked in tokens)
    assert "scope=repository%3Aapp%3Apull%2Cpush" in tokens[0].path
    sent = {a.headers.get("authorization") for a in fake.asked if a.method == "PUT"}
    assert sent == {"Bearer t0ken"}


def test_basic_authentication(
    store: Store, image: AssembledImage, fake: Fake, connect: Connect
) -> None:
    expected = "Basic " + base64.b64encode(b"me:geheim").decode()
    fake.trouble = lambda asked: (
        None
        if asked.headers.get("authorization") == expected
        else (401, {"WWW-Authenticate": 'Basic realm="x"'})
    )
    there = connect(fake.address, login=LOGIN)
    there.push(store, image)
    assert "1" in fake.manifests
    fake.asked.clear()
    there.manifest("1")  # in another scope
    assert ["authorization" in asked.headers for asked in fake.asked] == [True]
    with pytest.raises(RegistryDenied, match="login required"):
        connect(fake.address).manifest("1")


def test_a_token_service_of_another_host_gets_no_login(
    fake: Fake, other: Fake, connect: Connect
) -> None:
    fake.trouble = bearer(f"http://{other.address}/token")
    with pytest.raises(RegistryDenied, match="token service answered with status"):
        connect(fake.address, login=LOGIN).manifest("1")
    assert [asked.path.partition("?")[0] for asked in other.asked] == ["/token"]
    assert other.secrets_seen() == []


def test_a_redirect_carries_no_login(
    store: Store, elsewhere: Store, image: AssembledImage, fake: Fake, other: Fake, connect: Connect
) -> None:
    layer = image.layers[0]
    with store.blobs.open(layer.digest) as file:
        other.put_blob(file.read())
    place = f"http://{other.address}/v2/app/blobs/{layer.digest}"

    def trouble(asked: Asked) -> tuple[int, dict[str, str]]:
        if "authorization" not in asked.headers:
            return 401, {"WWW-Authenticate": 'Basic realm="x"'}
        return 307, {"Location": place}

    fake.trouble = trouble
    connect(fake.address, login=LOGIN).fetch(elsewhere, layer)
    assert elsewhere.blobs.has(layer.digest)
    assert len(other.asked) == 1
    assert other.secrets_seen() == []


def test_the_urls_of_foreign_layers_are_not_asked(
    store: Store, fake: Fake, other: Fake, tmp_path: Path
) -> None:
    config = fake.put_blob(b'{"rootfs":{"type":"layers","diff_ids":["sha256:' + b"0" * 64 + b'"]}}')
    manifest = {
        "schemaVersion": 2,
        "config": {"mediaType": OCI.config, "digest": config, "size": len(fake.blobs[config])},
        "layers": [
            {
                "mediaType": next(iter(OCI.layers.values())),
                "digest": "sha256:" + "0" * 64,
                "size": 5,
                "urls": [f"http://{other.address}/layer"],
            }
        ],
    }
    fake.put_manifest(OCI.manifest, json.dumps(manifest).encode(), "1")
    found = resolver(store, tmp_path)
    with pytest.raises(ImageNotFound):
        found.resolve(Reference.parse(f"{fake.address}/app:1"), AMD)
    found.registries.close()
    assert other.asked == []


@pytest.mark.parametrize(
    ("registry", "realm", "allowed"),
    [
        ("https://registry.example.com", "https://auth.example.com/t", True),
        ("https://registry.example.com", "https://example.com/t", True),
        ("https://example.com", "https://example.com/t", True),
        ("https://registry.example.com", "http://registry.example.com/t", False),
        ("https://registry.example.com", "https://example.org/t", False),
        ("https://registry.example.com", "https://notexample.com/t", False),
        ("https://example.com", "https://other.com/t", False),
        ("https://shop.co.uk", "https://evil.co.uk/t", False),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/t", False),
        ("http://10.0.0.1", "https://10.0.0.2/t", False),
    ],
)
def test_who_may_have_the_login(registry: str, realm: str, *, allowed: bool) -> None:
    assert same_owner(httpx.URL(registry), httpx.URL(realm)) is allowed


def test_credentials_come_from_the_session_or_docker(tmp_path: Path) -> None:
    stored = base64.b64encode(b"you:secret:with:colons").decode()
    (tmp_path / ".docker").mkdir()
    document = {"auths": {"registry.example": {"auth": stored}, "https://index.docker.io/v1/": {}}}
    (tmp_path / ".docker" / "config.json").write_text(json.dumps(document))
    settings = Settings(store=tmp_path, home=tmp_path, config=tmp_path)
    credentials = Credentials.of(settings, {"https://given.example/v2/": LOGIN})
    assert credentials.for_registry("given.example") == LOGIN
    found = credentials.for_registry("registry.example")
    assert found == Login(username="you", secret="secret:with:colons")
    assert credentials.for_registry("registry.example.org") is None
    assert credentials.for_registry("docker.io") is None
    assert "geheim" not in repr(credentials)


@pytest.mark.parametrize(
    ("address", "registry"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io/me/app", "docker.io"),
        ("me/app", "docker.io"),
        ("registry.example:5000/me/app", "registry.example:5000"),
        ("localhost/x", "localhost"),
    ],
)
def test_addresses_name_registries(address: str, registry: str) -> None:
    assert registry_of(address) == registry
