"""The program that attaches statements, run against docker-registry and read back by skopeo."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from layerline import command
from tests.published import LOCK, Image, Repository, new_key, request_of
from tests.registry import serving
from tests.sigstore_services import TOKEN, Services, serving_sigstore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
STATEMENT = "application/vnd.in-toto+json"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture
def repository(registry: str, tmp_path: Path) -> Repository:
    """A repository of each test's own."""
    return Repository(registry=registry, place=tmp_path, name=tmp_path.name.replace("_", "-"))


def test_unsigned_statements_are_referrers_that_skopeo_reads(
    repository: Repository, tmp_path: Path
) -> None:
    digest = repository.push(Image())
    made = repository.attach(digest)
    listed = repository.referrers(digest)
    assert [each["digest"] for each in listed] == [each["digest"] for each in made]
    kinds = [each["artifactType"] for each in listed]
    assert kinds == ["application/vnd.layerline.lock.v1", STATEMENT, STATEMENT]
    # https://github.com/opencontainers/distribution-spec: the tag of the referrers is an index.
    tag = digest.replace(":", "-")
    source = f"docker://{repository.registry}/{repository.name}"
    inspected = command.run(
        ["skopeo", "inspect", "--raw", "--tls-verify=false", f"{source}:{tag}"]
    ).stdout
    assert json.loads(inspected)["manifests"] == listed
    copy = f"dir:{tmp_path}/copy"
    which = f"{source}@{made[1]['digest']}"
    command.run(["skopeo", "copy", "-q", "--src-tls-verify=false", which, copy])
    manifest = json.loads((tmp_path / "copy" / "manifest.json").read_text())
    assert manifest["subject"]["digest"] == digest
    assert manifest["artifactType"] == STATEMENT
    assert repository.content(made[0]["digest"]).decode() == LOCK


def test_a_statement_names_the_image_and_its_layers(repository: Repository) -> None:
    digest = repository.push(Image())
    made = repository.attach(digest)
    statement = json.loads(repository.content(made[-1]["digest"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [
        {"name": f"{repository.name}:1.0", "digest": {"sha256": digest[7:]}}
    ]
    config = json.loads(
        repository.get(
            f"blobs/{repository.get('manifests/1.0').json()['config']['digest']}"
        ).content
    )
    products = statement["predicate"]["runDetails"]["byproducts"]
    assert [each["name"] for each in products] == [
        *("config", "layer 1", "layer 2", "document locks/cpu.txt"),
        "statement https://in-toto.io/attestation/test-result/v0.1",
    ]
    layers = [f"sha256:{each['digest']['sha256']}" for each in products[1:3]]
    assert layers == config["rootfs"]["diff_ids"]


@pytest.mark.parametrize("algorithm", ["ed25519", "EC"])
def test_a_key_signs_the_envelope_of_a_bundle(
    repository: Repository, tmp_path: Path, algorithm: str
) -> None:
    private, public = new_key(tmp_path, "own", algorithm)
    digest = repository.push(Image())
    made = repository.attach(digest, key=private)
    assert [each["artifactType"] for each in made[1:]] == [BUNDLE, BUNDLE]
    assert made[-1]["dev.sigstore.bundle.predicateType"] == "https://slsa.dev/provenance/v1"
    bundle = json.loads(repository.content(made[-1]["digest"]))
    envelope = bundle["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    # https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
    signed = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    key = serialization.load_pem_public_key(public.read_bytes())
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, signed)
    else:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
    assert private.read_text() not in json.dumps(bundle)


def test_a_key_that_cannot_sign_is_named_before_anything_is_attached(
    repository: Repository, tmp_path: Path
) -> None:
    digest = repository.push(Image())
    (tmp_path / "no.pem").write_text("no key\n")
    [failed] = repository.attach(digest, key=tmp_path / "no.pem", status=1)
    assert "was pushed, but not everything was attached" in failed["error"]
    assert "openssl genpkey -algorithm ed25519" in failed["error"]
    assert repository.referrers(digest) == []


def test_a_large_document_is_compressed_and_nothing_of_it_is_lost(repository: Repository) -> None:
    text = "package==1.0\n" * 200_000
    request = request_of()
    request["documents"] = [{"artifactType": "text/plain", "title": "large", "text": text}]
    digest = repository.push(Image())
    made = repository.attach(digest, request=request)
    layer = repository.get(f"manifests/{made[0]['digest']}").json()["layers"][0]
    assert layer["mediaType"] == "text/plain+gzip"
    assert layer["size"] < 1 << 20 < len(text)
    assert repository.content(made[0]["digest"]).decode() == text


def test_attaching_the_same_again_adds_nothing(repository: Repository) -> None:
    digest = repository.push(Image())
    first = repository.attach(digest)
    assert repository.attach(digest) == first
    assert len(repository.referrers(digest)) == len(first)


@pytest.fixture(scope="module")
def sigstore() -> Iterator[Services]:
    with serving_sigstore() as services:
        yield services


def test_an_identity_signs_with_a_certificate_and_an_entry_of_the_log(
    repository: Repository, sigstore: Services
) -> None:
    """Sigstore's own library verifies such bundles in tests/integration/test_readers.py."""
    digest = repository.push(Image())
    made = repository.attach(digest, token=TOKEN, services=(sigstore.url, sigstore.url))
    bundles = [json.loads(repository.content(each["digest"])) for each in made[1:]]
    materials = [each["verificationMaterial"] for each in bundles]
    certificates = {each["certificate"]["rawBytes"] for each in materials}
    assert len(certificates) == 1  # one identity, asked for once
    entries = [each["tlogEntries"][0] for each in materials]
    assert [each["logIndex"] for each in entries] == ["0", "1"]
    assert len(entries[1]["inclusionProof"]["hashes"]) == 1
    assert TOKEN not in json.dumps(bundles)


@pytest.mark.parametrize(
    ("token", "status", "said"),
    [("other", 0, "answered with 401: "), (TOKEN, 503, "answered with 503: ")],
)
def test_a_service_that_refuses_is_named_and_nothing_is_attached(
    repository: Repository, sigstore: Services, token: str, status: int, said: str
) -> None:
    digest = repository.push(Image())
    sigstore.refuse = status
    urls = (sigstore.url, sigstore.url)
    [failed] = repository.attach(digest, token=token, services=urls, status=1)
    sigstore.refuse = 0
    assert f"{sigstore.url}/api/v2/signingCert {said}" in failed["error"]
    assert "was pushed, but not everything was attached" in failed["error"]
    assert repository.referrers(digest) == []
