"""Twelve ways to tamper with a published image: each is found, and named.

Each is tried on an image that a key has signed, and on one that an identity has, whose signature
services on this machine have certified and logged.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
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
from tests.sigstore_services import IDENTITY, ISSUER, TOKEN, Services, serving_sigstore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

NOW = datetime.now(UTC)
OLD = NOW - timedelta(days=183)
FINISHED = f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
KEY = 'keys = ["{key}"]\n'
IDENTITIES = f"""\
identities = [{{{{ identity = "{IDENTITY}", issuer = "{ISSUER}" }}}}]
trusted_root = "{{root}}"
"""
POLICY = """\
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
    """An image that was published by `own`; `entries` are its referrers.

    `own` and `foreign` are who signs, as arguments of `attach`; a policy with `trusted` believes
    the former.
    """

    repository: Repository
    digest: str
    own: Mapping[str, Any]
    foreign: Mapping[str, Any]
    trusted: str
    entries: list[dict[str, Any]]

    def verify(self, policy: Policy, tag: str = "1.0") -> Verification:
        settings = Settings.from_environ({"HOME": str(self.repository.place)})
        reference = Reference.parse(self.repository.address(tag))
        with Registries.open(settings) as registries:
            return verify_image(registries.registry(reference), tag, policy, now=NOW)

    def policy(self, **changes: Any) -> Policy:  # noqa: ANN401
        path = self.repository.place / "policy.toml"
        path.write_text(self.trusted + POLICY)
        return replace(read_policy(path), **changes)

    def attach(self, digest: str = "", *, by: Mapping[str, Any] | None, **changes: Any) -> None:  # noqa: ANN401
        """Attach what is said of a build of now, with changes to it."""
        build = build_of(**{"started": FINISHED, "finished": FINISHED, **changes})
        self.repository.attach(digest or self.digest, request=request_of(build), **(by or {}))

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
def sigstore() -> Iterator[tuple[Services, Services]]:
    """The services that are trusted, and others of the same names."""
    with serving_sigstore() as services, serving_sigstore() as others:
        yield services, others


def by_identity(services: Services) -> dict[str, Any]:
    return {"token": TOKEN, "services": (services.url, services.url)}


@pytest.fixture(scope="module", params=["key", "identity"])
def origin(
    request: pytest.FixtureRequest,
    registry: str,
    keys: Path,
    sigstore: tuple[Services, Services],
    tmp_path_factory: pytest.TempPathFactory,
) -> Published:
    """The image as it was published, once."""
    place = tmp_path_factory.mktemp("origin")
    root = place / "trusted_root.json"
    root.write_text(json.dumps(sigstore[0].trusted_root()))
    own, foreign = (
        ({"key": keys / "own.pem"}, {"key": keys / "foreign.pem"})
        if request.param == "key"
        else map(by_identity, sigstore)
    )
    trusted = (KEY if request.param == "key" else IDENTITIES).format(
        key=keys / "own.pub", root=root.name
    )
    name = f"team/{request.param}"
    repository = Repository(registry=registry, place=place, name=name)
    digest = repository.push(IMAGE)
    made = Published(
        repository=repository, digest=digest, own=own, foreign=foreign, trusted=trusted, entries=[]
    )
    made.attach(by=own)
    return replace(made, entries=repository.referrers(digest))


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
    by = "own.pub" if "key" in published.own else f"{IDENTITY} ({ISSUER})"
    assert found.facts()["signed by"] == by
    assert ("signed before" in found.facts()) == ("token" in published.own)
    assert found.facts()["base"] == BASE
    assert list(found.documents) == ["locks/cpu.txt"]


def signed_again(published: Published, by: Mapping[str, Any] | None, **changes: Any) -> None:  # noqa: ANN401
    """Attach other statements in place of all that is attached."""
    published.list_referrers([])
    published.attach(by=by, **changes)


def without_results(published: Published) -> None:
    """Attach the provenance of a build that ran no probes."""
    published.list_referrers([])
    request = request_of(build_of(finished=FINISHED))
    request["statements"] = request["statements"][:1]
    published.repository.attach(published.digest, request=request, **published.own)


def replay(published: Published) -> None:
    """Move the tag back to an older image, which was published by the same."""
    old = published.repository.push(Image(layers=(IMAGE.layers[0], {"opt/venv/wheel.py": "x = 0"})))
    version = provenance.Origin(version="0.9.0")
    published.attach(old, by=published.own, origin=version, finished=f"{OLD:%Y-%m-%dT%H:%M:%SZ}")


PROVENANCE, TESTS = provenance.PROVENANCE, provenance.TESTS
CHANGED = "the provenance does not match its signature: it was changed after it was signed"
# https://github.com/sigstore/sigstore-python, dsse/__init__.py: what its verifier says of it.
REFUSED = "the provenance is not signed by a trusted identity: DSSE: invalid signature"
# What is said if a key has signed, and where it is another one, if an identity has.
TAMPERINGS: dict[
    str, tuple[Callable[[Published], object], str] | tuple[Callable[[Published], object], str, str]
] = {
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
        lambda p: signed_again(p, p.own, base=BASE.replace("debian", "alpine")),
        "base: docker.io/library/alpine:bookworm-slim@sha256:",
    ),
    "time": (
        lambda p: p.change(PROVENANCE, edited(FINISHED, f"{OLD:%Y-%m-%dT%H:%M:%SZ}")),
        CHANGED,
        REFUSED,
    ),
    "time in the future": (
        lambda p: signed_again(p, p.own, finished=f"{NOW + timedelta(31):%Y-%m-%dT%H:%M:%SZ}"),
        "time: the build finished in the future",
        "signature: the provenance says that the build finished on",
    ),
    "foreign signature": (
        lambda p: signed_again(p, p.foreign),
        "signature: the provenance is signed by another key",
        "signature: the provenance is not signed by a trusted identity: failed to build",
    ),
    "no signature": (
        lambda p: signed_again(p, None),
        "signature: the provenance is not signed",
    ),
    "replay by age": (
        replay,
        f"time: the image was built 183 days ago, on {OLD:%Y-%m-%d}",
    ),
    "replay by version": (replay, "version: 0.9.0 is older than 1.0.0"),
    "swapped layer": (lambda p: p.replace_image(SWAPPED), "layer 1: sha256:"),
    "removed result": (
        lambda p: p.forget(TESTS),
        "statements: the result of the probes that the provenance names is missing",
    ),
    "removed provenance": (
        lambda p: p.forget(PROVENANCE),
        "provenance: there is none that a trusted key or identity has signed",
    ),
    "removed referrers": (
        lambda p: p.list_referrers([]),
        "provenance: nothing is attached to the image",
    ),
    "changed provenance": (
        lambda p: p.change(PROVENANCE, edited('"version":"1.0.0"', '"version":"2.0.0"')),
        CHANGED,
        REFUSED,
    ),
    "other builder": (
        lambda p: signed_again(
            p, p.own, origin=provenance.Origin(version="1.0.0", builder="https://evil.example")
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
    tamper, *says = TAMPERINGS[name]
    tamper(published)
    said = says[0] if "key" in published.own else says[-1]
    problems = published.verify(published.policy()).problems
    assert any(said in each for each in problems), problems


def test_the_parts_of_a_replaced_image_are_named_with_both_digests(published: Published) -> None:
    published.replace_image(WHEEL)
    problems = published.verify(published.policy()).problems
    assert any(
        each.startswith(f"subject: the provenance is about {published.digest}") for each in problems
    )
    [layer] = [each for each in problems if each.startswith("layer ")]
    assert layer.startswith("layer 2: ")
    assert layer.count("sha256:") == 2


def test_what_others_attach_changes_nothing(published: Published) -> None:
    """Everybody who may push may attach: it neither helps nor breaks what is signed."""
    published.attach(by=published.foreign)
    junk = {"statements": [], "documents": [
        {"artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json", "title": "x", "text": "{"}
    ]}  # fmt: skip
    published.repository.attach(published.digest, request=junk)
    found = published.verify(published.policy())
    assert found.problems == ()
    reason = "signed by another key" if "key" in published.own else "trusted identity: failed to"
    assert any(reason in each for each in found.notes)


@pytest.mark.parametrize("origin", ["key"], indirect=True)
def test_a_key_is_not_believed_after_it_was_revoked(published: Published, keys: Path) -> None:
    made = NOW.replace(microsecond=0).timestamp()
    key = read_key(keys / "own.pub", revoked_from=made)
    problems = published.verify(Policy(keys=(key,))).problems
    assert any("own.pub, which was revoked before" in each for each in problems)
