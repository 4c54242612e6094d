"""Twelve ways to tamper with a published image: each is found, and named."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from layerline.engine.attestation.keys import read_key
from layerline.engine.attestation.policy import Policy, read_policy
from layerline.engine.attestation.verification import Verification, verify_image
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry.connections import Registries
from layerline.pipeline import provenance
from layerline.settings import Settings
from tests.published import (
    BASE,
    LABEL,
    Image,
    Repository,
    build_of,
    new_key,
    request_of,
)
from tests.registry import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW = datetime(2026, 12, 1, tzinfo=UTC)
POLICY = """\
keys = ["{key}"]
bases = ["docker.io/library/debian:*"]
builders = ["urn:layerline:builder:local"]
max_age_days = 30
min_version = "1.0.0"
probes = ["imports", "image small: owners"]
"""
IMAGE = Image()
WHEEL = Image(layers=(IMAGE.layers[0], {"opt/venv/wheel.py": "x = 2\n"}))
OTHER_BASE = Image(layers=({"etc/base": "2"}, IMAGE.layers[1]))
SWAPPED = Image(layers=IMAGE.layers[::-1])
LABELLED = Image(labels={"layerline.evidence": LABEL.replace("passed", "failed")})
OTHER_LABEL = Image(labels={**IMAGE.labels, "org.opencontainers.image.title": "other"})
KIND = "dev.sigstore.bundle.predicateType"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """An image that was published with the key `own`; `entries` are its referrers."""

    repository: Repository
    digest: str
    private: Path
    foreign: Path
    public: Path
    entries: list[dict[str, Any]]

    def verify(self, policy: Policy | None = None, tag: str = "1.0") -> Verification:
        policy = policy or Policy(keys=(read_key(self.public),))
        settings = Settings.from_environ({"HOME": str(self.repository.place)})
        reference = Reference.parse(self.repository.address(tag))
        with Registries.open(settings) as registries:
            return verify_image(registries.registry(reference), tag, policy, now=NOW)

    def policy(self, **changes: Any) -> Policy:  # noqa: ANN401
        path = self.repository.place / "policy.toml"
        path.write_text(POLICY.format(key=self.public))
        return replace(read_policy(path), **changes)

    def replace_image(self, image: Image) -> None:
        """Push another image under the tag, and attach to it all that the first one has."""
        digest = self.repository.push(image)
        found = []
        for each in self.repository.referrers(self.digest):
            manifest = self.repository.get(f"manifests/{each['digest']}").json()
            manifest["subject"]["digest"] = digest
            found.append({**each, "digest": self.repository.put_manifest("", manifest)})
        self.list_referrers(found, digest)

    def list_referrers(self, entries: list[dict[str, Any]], digest: str = "") -> None:
        kind = "application/vnd.oci.image.index.v1+json"
        index = {"schemaVersion": 2, "mediaType": kind, "manifests": entries}
        self.repository.put_manifest((digest or self.digest).replace(":", "-"), index)

    def change(self, which: str, edit: Callable[[bytes], bytes]) -> None:
        """Change what is attached as an artifact or a predicate of that type."""
        found = []
        for each in self.repository.referrers(self.digest):
            entry = dict(each)
            if which in (each["artifactType"], each["annotations"].get(KIND)):
                manifest = self.repository.get(f"manifests/{each['digest']}").json()
                changed = self.repository.put_blob(edit(self.repository.content(each["digest"])))
                manifest["layers"][0].update(changed)
                entry["digest"] = self.repository.put_manifest("", manifest)
            found.append(entry)
        self.list_referrers(found)

    def forget(self, which: str) -> None:
        """Remove what is attached as an artifact or a predicate of that type."""
        found = self.repository.referrers(self.digest)
        kept = [e for e in found if which not in (e["artifactType"], e["annotations"].get(KIND))]
        self.list_referrers(kept)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the keys `own` and `foreign`."""
    place = tmp_path_factory.mktemp("keys")
    for name in ("own", "foreign"):
        new_key(place, name)
    return place


@pytest.fixture(scope="module")
def origin(registry: str, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """The image as it was published, once."""
    repository = Repository(registry=registry, place=tmp_path_factory.mktemp("origin"))
    private, public, foreign = keys / "own.pem", keys / "own.pub", keys / "foreign.pem"
    digest = repository.push(IMAGE)
    repository.attach(digest, key=private)
    return Published(
        repository=repository,
        digest=digest,
        private=private,
        foreign=foreign,
        public=public,
        entries=repository.referrers(digest),
    )


@pytest.fixture
def published(origin: Published) -> Published:
    """The image as it was published: the tag and the list of referrers are put back."""
    manifest = origin.repository.get(f"manifests/{origin.digest}").json()
    assert origin.repository.put_manifest("1.0", manifest) == origin.digest
    origin.list_referrers(origin.entries)
    return origin


def edited(before: str, after: str) -> Callable[[bytes], bytes]:
    """An edit of the payload of a bundle, whose signature stays."""

    def edit(data: bytes) -> bytes:
        bundle = json.loads(data)
        payload = base64.b64decode(bundle["dsseEnvelope"]["payload"]).decode()
        assert before in payload
        changed = payload.replace(before, after).encode()
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(changed).decode()
        return json.dumps(bundle).encode()

    return edit


def test_what_was_published_is_verified(published: Published) -> None:
    found = published.verify(published.policy())
    assert found.problems == ()
    assert found.facts()["signed by"] == "own.pub"
    assert found.facts()["base"] == BASE
    assert list(found.documents) == ["locks/cpu.txt"]


def signed_again(published: Published, key: Path | None, **changes: Any) -> None:  # noqa: ANN401
    """Attach other statements in place of all that is attached."""
    published.list_referrers([])
    request = request_of(build_of(**changes))
    published.repository.attach(published.digest, key=key, request=request)


def without_results(published: Published) -> None:
    """Attach the provenance of a build that ran no probes."""
    published.list_referrers([])
    request = request_of()
    request["statements"] = request["statements"][:1]
    published.repository.attach(published.digest, key=published.private, request=request)


def replay(published: Published) -> None:
    """Move the tag back to an older image, which was published with the same key."""
    old = published.repository.push(Image(layers=(IMAGE.layers[0], {"opt/venv/wheel.py": "x = 0"})))
    build = build_of(origin=provenance.Origin(version="0.9.0"), finished="2026-06-01T00:00:00Z")
    published.repository.attach(old, key=published.private, request=request_of(build))


PROVENANCE, TESTS = provenance.PROVENANCE, provenance.TESTS
TAMPERINGS: dict[str, tuple[Callable[[Published], object], str]] = {
    "wheel": (lambda p: p.replace_image(WHEEL), "layer 2: sha256:"),
    "lock": (
        lambda p: p.change("application/vnd.layerline.lock.v1", lambda data: data + b"evil==1\n"),
        "documents: locks/cpu.txt as the provenance names it is missing or was changed",
    ),
    "label": (lambda p: p.replace_image(LABELLED), "label: layerline.evidence is not what"),
    "another label": (lambda p: p.replace_image(OTHER_LABEL), "config: sha256:"),
    "probe's result": (
        lambda p: p.change(TESTS, edited('"result":"passed"', '"result":"PASSED"')),
        "statements: the result of the probes that the provenance names is missing or was changed",
    ),
    "base": (lambda p: p.replace_image(OTHER_BASE), "layer 1: sha256:"),
    "other base in the statement": (
        lambda p: signed_again(p, p.private, base=BASE.replace("debian", "alpine")),
        "base: docker.io/library/alpine:bookworm-slim@sha256:",
    ),
    "time": (
        lambda p: p.change(PROVENANCE, edited("2026-11-30T10:01", "2026-12-01T10:01")),
        "the provenance does not match its signature: it was changed after it was signed",
    ),
    "time in the future": (
        lambda p: signed_again(p, p.private, finished="2027-01-01T00:00:00Z"),
        "time: the build finished in the future",
    ),
    "foreign signature": (
        lambda p: signed_again(p, p.foreign),
        "signature: the provenance is signed by another key",
    ),
    "no signature": (
        lambda p: signed_again(p, None),
        "signature: the provenance is not signed",
    ),
    "replay by age": (replay, "time: the image was built 183 days ago, on 2026-06-01"),
    "replay by version": (replay, "version: 0.9.0 is older than 1.0.0"),
    "swapped layer": (lambda p: p.replace_image(SWAPPED), "layer 1: sha256:"),
    "removed result": (
        lambda p: p.forget(TESTS),
        "statements: the result of the probes that the provenance names is missing",
    ),
    "removed provenance": (
        lambda p: p.forget(PROVENANCE),
        "provenance: there is none that a trusted key has signed",
    ),
    "removed referrers": (
        lambda p: p.list_referrers([]),
        "provenance: nothing is attached to the image",
    ),
    "changed provenance": (
        lambda p: p.change(PROVENANCE, edited('"version":"1.0.0"', '"version":"2.0.0"')),
        "the provenance does not match its signature",
    ),
    "other builder": (
        lambda p: signed_again(
            p, p.private, origin=provenance.Origin(version="1.0.0", builder="https://evil.example")
        ),
        "builder: 'https://evil.example' is none of urn:layerline:builder:local",
    ),
    "probe that did not run": (
        without_results,
        "probe: 'imports' did not run, or did not pass",
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_tampering_is_found_and_named(published: Published, name: str) -> None:
    tamper, said = TAMPERINGS[name]
    tamper(published)
    problems = published.verify(published.policy()).problems
    assert any(said in each for each in problems), problems


def test_the_parts_of_a_replaced_image_are_named_with_both_digests(published: Published) -> None:
    published.replace_image(WHEEL)
    problems = published.verify().problems
    assert any(
        each.startswith(f"subject: the provenance is about {published.digest}") for each in problems
    )
    [layer] = [each for each in problems if each.startswith("layer ")]
    assert layer.startswith("layer 2: ")
    assert layer.count("sha256:") == 2


def test_what_others_attach_changes_nothing(published: Published) -> None:
    """Everybody who may push may attach: it neither helps nor breaks what is signed."""
    published.repository.attach(published.digest, key=published.foreign)
    junk = {"statements": [], "documents": [
        {"artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json", "title": "x", "text": "{"}
    ]}  # fmt: skip
    published.repository.attach(published.digest, request=junk)
    found = published.verify(published.policy())
    assert found.problems == ()
    assert any("signed by another key" in each for each in found.notes)


def test_a_key_is_not_believed_after_it_was_revoked(published: Published) -> None:
    made = datetime(2026, 11, 30, 10, 1, tzinfo=UTC).timestamp()
    key = read_key(published.public, revoked_from=made)
    problems = published.verify(Policy(keys=(key,))).problems
    assert any("own.pub, which was revoked before" in each for each in problems)
