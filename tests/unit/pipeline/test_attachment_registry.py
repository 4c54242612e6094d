"""How the program that attaches speaks to registries: logins, the referrers API, busy ones."""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from layerline.engine.attestation.referrers import read_attached
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry.client import same_owner as engine_has_it
from layerline.engine.image.registry.connections import Registries
from layerline.pipeline.programs.attachment.registry import (
    Address,
    RegistryError,
    Repository,
    digest,
    parse_address,
    parse_login,
    same_owner,
)
from layerline.settings import Settings
from tests.unit.image.fake_registry import Asked, Fake, fake_registry
from tests.unit.image.test_registry import test_who_may_have_the_login as owners

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOGIN = ("me", "geheim")
PARTS = gzip.compress(b"one", mtime=0) * 2
BOMB = gzip.compress(bytes(257 << 20), 1, mtime=0)
IMAGE = digest(b"an image")


@pytest.fixture
def fake() -> Iterator[Fake]:
    with fake_registry() as fake:
        yield fake


def repository(fake: Fake, login: tuple[str, str] | None = None) -> Repository:
    return Repository(parse_address(f"{fake.address}/app:1"), login)


def attach(place: Repository, text: str) -> str:
    """Attach a text to the image."""
    place.push_blob(text.encode())
    layer = {"mediaType": "text/plain", "digest": digest(text.encode()), "size": len(text)}
    subject = {"mediaType": "x", "digest": IMAGE, "size": 8}
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "text/plain",
        "layers": [layer],
        "subject": subject,
    }
    return place.attach(manifest)


@pytest.mark.parametrize("referrers", [None, {}])
def test_a_referrer_is_listed_by_the_api_or_else_under_the_tag(
    fake: Fake, tmp_path: Path, referrers: dict[str, list[dict[str, object]]] | None
) -> None:
    fake.referrers = referrers
    made = [attach(repository(fake), text) for text in ("one", "two")]
    assert (IMAGE.replace(":", "-") in fake.manifests) is (referrers is None)
    settings = Settings.from_environ({"HOME": str(tmp_path)})
    with Registries.open(settings) as registries:
        place = registries.registry(Reference.parse(f"{fake.address}/app:1"))
        found = [(each.digest, each.data) for each in read_attached(place, IMAGE)[0]]
    assert found == list(zip(made, (b"one", b"two"), strict=True))


@pytest.mark.parametrize(
    "layer",
    [
        {"mediaType": "text/plain+gzip", "digest": digest(b"no gzip"), "size": 7},
        {"mediaType": "text/plain", "digest": digest(b"no gzip"), "size": 8},
        {"mediaType": "text/plain", "digest": "x", "size": 7},
        {"mediaType": "text/plain+gzip", "digest": digest(BOMB), "size": len(BOMB)},
        {"mediaType": "text/plain+gzip", "digest": digest(PARTS), "size": len(PARTS)},
        "layer",
    ],
)
def test_a_broken_referrer_hides_no_other(fake: Fake, tmp_path: Path, layer: object) -> None:
    """Everybody who may push may attach."""
    fake.put_blob(b"no gzip")
    fake.put_blob(BOMB)
    fake.put_blob(PARTS)
    fake.referrers = {}
    subject = {"digest": IMAGE}
    broken = {"artifactType": "text/plain", "subject": subject, "layers": [layer]}
    repository(fake).attach(broken)
    attach(repository(fake), "one")
    settings = Settings.from_environ({"HOME": str(tmp_path)})
    with Registries.open(settings) as registries:
        place = registries.registry(Reference.parse(f"{fake.address}/app:1"))
        found, wrong = read_attached(place, IMAGE)
    assert [each.data for each in found] == [b"one"]
    [said] = wrong
    assert " cannot be read: " in said


def test_the_list_of_another_client_is_kept(fake: Fake) -> None:
    kind = "application/vnd.oci.image.index.v1+json"
    entry = {"mediaType": "x", "digest": digest(b"other"), "size": 5}
    index = {"schemaVersion": 2, "mediaType": kind, "manifests": [entry]}
    fake.put_manifest(kind, json.dumps(index).encode(), IMAGE.replace(":", "-"))
    made = attach(repository(fake), "one")
    listed = json.loads(fake.manifests[IMAGE.replace(":", "-")][1])["manifests"]
    assert [each["digest"] for each in listed] == [digest(b"other"), made]


def challenged(challenge: str, granted: str) -> Any:  # noqa: ANN401
    """A registry that wants a login."""

    def trouble(asked: Asked) -> tuple[int, dict[str, str]] | None:
        if "/auth/" in asked.path or asked.headers.get("authorization", "") == granted:
            return None
        return 401, {"WWW-Authenticate": challenge}

    return trouble


def test_basic_authentication(fake: Fake) -> None:
    granted = "Basic " + base64.b64encode(b"me:geheim").decode()
    fake.trouble = challenged('Basic realm="x"', granted)
    attach(repository(fake, LOGIN), "one")
    with pytest.raises(RegistryError, match="give --registry-login"):
        attach(repository(fake), "two")
    with pytest.raises(RegistryError, match="give --registry-login"):
        attach(repository(fake, ("me", "wrong")), "two")


def test_the_token_service_of_the_registry_gets_the_login(fake: Fake) -> None:
    fake.blobs["token"] = b'{"token":"t0ken"}'
    realm = f'Bearer realm="http://{fake.address}/v2/auth/blobs/token",service="s"'
    fake.trouble = challenged(realm, "Bearer t0ken")
    attach(repository(fake, LOGIN), "one")
    [asked, *_] = [each for each in fake.asked if "/auth/" in each.path]
    assert asked.headers["authorization"].startswith("Basic ")
    assert "service=s&scope=repository%3Aapp%3Apull%2Cpush" in asked.path


def test_a_token_service_of_another_host_gets_no_login(fake: Fake) -> None:
    with fake_registry() as other:
        realm = f'Bearer realm="http://{other.address}/token"'
        fake.trouble = challenged(realm, "Bearer t0ken")
        with pytest.raises(RegistryError, match="give --registry-login"):
            attach(repository(fake, LOGIN), "one")
        assert [each.path.partition("?")[0] for each in other.asked] == ["/token"]
        assert other.secrets_seen() == []


def test_both_clients_agree_on_who_may_have_the_login() -> None:
    [marked] = owners.pytestmark  # type: ignore[attr-defined]
    for registry, realm, allowed in marked.args[1]:
        assert same_owner(registry, realm) is allowed
        assert engine_has_it(httpx.URL(registry), httpx.URL(realm)) is allowed


def test_a_busy_registry_is_asked_again(fake: Fake) -> None:
    troubles: list[tuple[int, dict[str, str]]] = [(503, {}), (429, {})]
    fake.trouble = lambda _: troubles.pop() if troubles else None
    attach(repository(fake), "one")
    assert not troubles


def test_a_registry_that_is_not_there_is_named() -> None:
    place = Repository(Address("127.0.0.1:9", "app", "1"), None)
    with pytest.raises(RegistryError, match=r"cannot reach 127\.0\.0\.1:9"):
        place.manifest("1")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("registry.example.com/team/app:1.4", ("registry.example.com", "team/app", "1.4")),
        ("localhost/app", ("localhost", "app", "latest")),
        ("127.0.0.1:5000/app@sha256:" + "a" * 64, ("127.0.0.1:5000", "app", "latest")),
        ("debian", ("docker.io", "library/debian", "latest")),
        ("team/app:2", ("docker.io", "team/app", "2")),
    ],
)
def test_an_address_has_parts(text: str, parts: tuple[str, str, str]) -> None:
    assert parse_address(text) == parts


def test_a_login_is_a_pair_or_is_found_in_dockers_file() -> None:
    assert parse_login("me:ge:heim\n", "h") == ("me", "ge:heim")
    auth = base64.b64encode(b"me:geheim").decode()
    config = json.dumps({"auths": {"https://index.docker.io/v1/": {"auth": auth}, "h:5": {}}})
    assert parse_login(config, "docker.io") == LOGIN
    assert parse_login(config, "h:5") is None
    assert parse_login("", "h") is None
