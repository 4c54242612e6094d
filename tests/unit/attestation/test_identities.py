"""Who a trusted identity is: subject, issuer, the services' keys, and an entry of the log."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from layerline.engine.attestation.identities import (
    Identities,
    Identity,
    NotSigned,
    read_identities,
)
from layerline.errors import HostError, UsageError
from layerline.pipeline.programs.attachment import keyless
from tests.sigstore_services import IDENTITY, ISSUER, TOKEN, serving_sigstore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Bundle = dict[str, Any]
OWN = Identity(subject=IDENTITY, issuer=ISSUER)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[Bundle]]]:
    """A trusted root, and the bundles of two statements that its services were asked for."""
    place = tmp_path_factory.mktemp("signed")
    with serving_sigstore() as services:
        urls = keyless.Services(services.url, services.url)
        signer = keyless.Signer(TOKEN, urls, place / "key.pem")
        bundles = [signer.bundle(payload) for payload in (b'{"a":1}', b'{"a":2}')]
        root = place / "trusted_root.json"
        root.write_text(json.dumps(services.trusted_root()))
        yield root, bundles


def trusting(root: Path, *trusted: Identity) -> Identities:
    return read_identities(trusted or (OWN,), root)


def verified(identities: Identities, bundle: Bundle) -> Identity:
    return identities.verify(json.dumps(bundle).encode())[0]


def test_one_of_several_identities_is_found(signed: tuple[Path, list[Bundle]]) -> None:
    root, [bundle, _] = signed
    other = Identity(subject="https://other.example.com", issuer=ISSUER)
    assert verified(trusting(root, other, OWN), bundle) == OWN


@pytest.mark.parametrize(
    ("trusted", "said"),
    [
        (Identity(subject="https://evil.example.com", issuer=ISSUER), "SANs do not match"),
        (Identity(subject=IDENTITY + ".evil", issuer=ISSUER), "SANs do not match"),
        (Identity(subject=IDENTITY, issuer="https://evil.example.com"), "does not match"),
    ],
)
def test_another_subject_or_issuer_is_refused(
    signed: tuple[Path, list[Bundle]], trusted: Identity, said: str
) -> None:
    root, [bundle, _] = signed
    with pytest.raises(NotSigned, match=said):
        trusting(root, trusted).verify(json.dumps(bundle).encode())


def with_entry_of_the_other(bundle: Bundle, other: Bundle) -> None:
    bundle["verificationMaterial"]["tlogEntries"] = other["verificationMaterial"]["tlogEntries"]


def without_entry(bundle: Bundle, _: Bundle) -> None:
    bundle["verificationMaterial"]["tlogEntries"] = []


def logged_later(bundle: Bundle, _: Bundle) -> None:
    [entry] = bundle["verificationMaterial"]["tlogEntries"]
    entry["integratedTime"] = str(int(entry["integratedTime"]) + 60)


def with_a_proof_of_another_place(bundle: Bundle, other: Bundle) -> None:
    [entry] = bundle["verificationMaterial"]["tlogEntries"]
    entry["inclusionProof"] = other["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]


def without_material(bundle: Bundle, _: Bundle) -> None:
    bundle["verificationMaterial"] = {"certificate": 7}


@pytest.mark.parametrize(
    "edit",
    [
        with_entry_of_the_other,
        without_entry,
        logged_later,
        with_a_proof_of_another_place,
        without_material,
    ],
)
def test_what_the_log_does_not_have_is_refused(
    signed: tuple[Path, list[Bundle]], edit: Callable[[Bundle, Bundle], None]
) -> None:
    root, bundles = signed
    one, other = json.loads(json.dumps(bundles))
    edit(one, other)
    with pytest.raises(NotSigned) as refused:
        trusting(root).verify(json.dumps(one).encode())
    assert len(str(refused.value)) <= 301
    assert str(refused.value).isprintable()


def test_services_with_other_keys_are_refused(
    signed: tuple[Path, list[Bundle]], tmp_path: Path
) -> None:
    _, [bundle, _] = signed
    root = tmp_path / "root.json"
    with serving_sigstore() as others:
        root.write_text(json.dumps(others.trusted_root()))
    with pytest.raises(NotSigned, match="failed to build"):
        verified(trusting(root), bundle)


def test_a_file_that_is_not_a_trusted_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the trusted root .*/none\.json"):
        read_identities((OWN,), tmp_path / "none.json")
    (tmp_path / "root.json").write_text('{"mediaType": "x"}')
    with pytest.raises(UsageError, match=r"root\.json is not a trusted root of sigstore"):
        read_identities((OWN,), tmp_path / "root.json")


def test_without_the_package_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sigstore.models", None)
    with pytest.raises(HostError, match="sigstore, which is not installed: install it with 'uv"):
        read_identities((OWN,), tmp_path / "root.json")
