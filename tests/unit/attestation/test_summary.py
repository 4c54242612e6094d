"""A second statement: who verifies, or builds again, signs it, and a policy can ask for it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from layerline.engine.attestation.attaching import Summary, attach_summary
from layerline.engine.attestation.keys import read_key, read_private_key
from layerline.engine.attestation.policy import Policy, read_policy
from layerline.engine.attestation.statements import BUNDLE, SUMMARY, parse_attached
from layerline.engine.attestation.verification import Verification, verify_address
from layerline.errors import UsageError
from layerline.settings import Settings
from tests.published import Image, Repository, new_key
from tests.registry import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("registry")) as address:
        yield address


class Published:
    """An image, the keys `own` and `second`, and how it is verified."""

    def __init__(self, registry: str, place: Path) -> None:
        self.place = place
        name = place.name.replace("_", "-").strip("-")
        self.repository = Repository(registry=registry, place=place, name=name)
        self.settings = Settings.from_environ({"HOME": str(place)})
        private, public = new_key(place, "own")
        self.second = read_private_key(new_key(place, "second", "EC")[0])
        self.policy = Policy(keys=(read_key(public),))
        self.digest = self.repository.push(Image())
        self.repository.attach(self.digest, key=private)

    def verify(self, **changes: Any) -> Verification:  # noqa: ANN401
        policy = replace(self.policy, **changes)
        return verify_address(self.settings, self.repository.address(), policy)

    def attest(self, *, is_rebuilt: bool) -> str:
        summary = Summary(verifier="https://second.example.com", is_rebuilt=is_rebuilt)
        address = self.repository.address()
        return attach_summary(self.settings, address, self.verify(), summary, self.second)


@pytest.fixture
def published(registry: str, tmp_path: Path) -> Published:
    return Published(registry, tmp_path)


def test_a_summary_names_the_image_the_verifier_and_the_provenance(published: Published) -> None:
    before = published.repository.referrers(published.digest)
    made = published.attest(is_rebuilt=False)
    listed = published.repository.referrers(published.digest)
    assert [each["digest"] for each in listed] == [*(e["digest"] for e in before), made]
    statement = parse_attached(BUNDLE, published.repository.content(made))
    assert statement.predicate_type == SUMMARY
    assert statement.subjects == {published.digest}
    assert statement.predicate["verifier"] == {"id": "https://second.example.com"}
    assert statement.predicate["verifiedLevels"] == []
    [used] = statement.predicate["inputAttestations"]
    taken = published.verify().provenance
    assert taken is not None
    payload = taken.statement.payload
    assert used["digest"]["sha256"] == hashlib.sha256(payload).hexdigest()
    assert published.repository.registry not in json.dumps(statement.predicate)
    assert published.verify().problems == ()


def test_a_policy_asks_for_who_has_built_the_layers_again(published: Published) -> None:
    path = published.place / "policy.toml"
    path.write_text('keys = ["own.pub"]\nrebuilt_by = ["second.pub"]\n')
    wanted = read_policy(path).rebuilt_by
    missing = "rebuilt: none of second.pub has signed that it built the layers again"
    assert published.verify(rebuilt_by=wanted).problems == (missing,)
    published.attest(is_rebuilt=False)
    assert published.verify(rebuilt_by=wanted).problems == (missing,)
    published.attest(is_rebuilt=True)
    assert published.verify(rebuilt_by=wanted).problems == ()
    assert published.verify(rebuilt_by=published.policy.keys).problems != ()


def test_a_key_that_others_can_read_does_not_sign(published: Published) -> None:
    path = published.place / "second.pem"
    path.chmod(0o644)
    with pytest.raises(UsageError, match="others can read the key"):
        read_private_key(path)
    path.chmod(0o600)
    path.write_text("no key\n")
    with pytest.raises(UsageError, match="has no private key of Ed25519 or ECDSA P-256"):
        read_private_key(path)
