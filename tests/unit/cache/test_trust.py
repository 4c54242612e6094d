"""A record is taken only if a trusted key signed it, for this key and this repository, in time."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from layerline.engine.cache.artifact import artifact_of
from layerline.engine.cache.envelope import RECORD, parse_envelope
from layerline.engine.cache.place import Place
from layerline.engine.cache.record import Record, parse_record, tag_of
from layerline.engine.cache.shared import SharedCache
from layerline.engine.cache.trust import Trust
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry.client import Endpoint
from layerline.engine.image.registry.connections import Registries
from layerline.engine.image.registry.credentials import Login
from layerline.engine.image.registry.repository import Repository
from layerline.engine.store.digest import digest_bytes
from layerline.engine.store.store import Store
from layerline.errors import UsageError
from layerline.log import Event, Journal
from layerline.settings import Settings
from layerline.signing import Signing, TrustedKey
from tests.unit.cache.poisons import MANIFESTS, POISONED, foreign_key, with_layer
from tests.unit.cache.test_shared_calls import call

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cache.conftest import Machine

DAY = 24 * 3600
pytestmark = pytest.mark.usefixtures("overlay")


@dataclass(kw_only=True)
class Key:
    """A pair of key files."""

    private: Path
    public: Path

    @classmethod
    def make(cls, place: Path, name: str) -> Key:
        key = Ed25519PrivateKey.generate()
        made = cls(private=place / f"{name}.key", public=place / f"{name}.pub")
        made.private.touch(mode=0o600)
        made.private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        made.public.write_bytes(
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        return made

    def trust(self) -> Trust:
        return Trust.of(Signing(sign_with=self.private))


@dataclass(kw_only=True)
class Signed:
    """A record that a machine has written, and the means to write another in its place."""

    cache: str
    place: Path
    tag: str
    record: Record
    own: Key
    foreign: Key

    def push(self, envelope: bytes, record: Record | None = None) -> None:
        """Put an envelope under the tag, with the layers of a record."""
        home = self.own.private.parent
        settings = Settings(store=home / "pushing", home=home, config=home / "none")
        with Store.open(settings.store) as store, Registries.open(settings) as registries:
            place = replace(Reference.parse(self.cache), tag=self.tag)
            image = artifact_of(record or replace(self.record, layers={}, blobs={}), envelope)
            registries.registry(place).push(store, image)

    def put(self, manifest: bytes) -> None:
        """Put a manifest under the tag into the registry's own files: it would refuse it."""
        tags = self.place / "docker/registry/v2/repositories" / self.cache.partition("/")[2]
        link = tags / "_manifests/tags" / self.tag / "current/link"
        digest = digest_bytes(manifest)
        algorithm, _, name = digest.partition(":")
        data = self.place / "docker/registry/v2/blobs" / algorithm / name[:2] / name / "data"
        data.parent.mkdir(parents=True, exist_ok=True)
        data.write_bytes(manifest)
        revision = tags / "_manifests/revisions" / algorithm / name / "link"
        revision.parent.mkdir(parents=True, exist_ok=True)
        revision.write_text(digest)
        link.write_text(digest)

    def sealed(self, record: Record) -> bytes:
        return self.own.trust().seal(record.payload(), RECORD)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Key, Key]:
    return Key.make(tmp_path, "own"), Key.make(tmp_path, "foreign")


def fetch(url: str) -> dict[str, Any]:
    """A manifest of the registry."""
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    found: dict[str, Any] = httpx.get(url, headers=accept).raise_for_status().json()
    return found


@pytest.fixture
async def signed(
    machines: tuple[Machine, Machine],
    keys: tuple[Key, Key],
    cache: str,
    registry_place: Path,
) -> Signed:
    """The record of a call, signed by the first machine; the second trusts its key."""
    own, foreign = keys
    first, second = machines
    first.environ["LAYERLINE_SIGN_WITH"] = str(own.private)
    second.environ["LAYERLINE_TRUST"] = str(own.public)
    async with first.session() as session:
        await call(session, "made by the first", {"name": "x"})
        (key, _), *_ = session.store.index.scan("call")
    tag = tag_of("call", key, None)
    host, _, repository = cache.partition("/")
    manifest = fetch(f"http://{host}/v2/{repository}/manifests/{tag}")
    envelope = parse_envelope(base64.b64decode(manifest["config"]["data"]))
    record = parse_record(envelope.payload)
    return Signed(
        cache=cache,
        place=registry_place / "blobs",
        tag=tag,
        record=record,
        own=own,
        foreign=foreign,
    )


async def taken(machine: Machine) -> bool:
    """Whether a machine takes the record instead of running the function."""
    async with machine.session() as session:
        return (await call(session, "ran here", {"name": "x"}))[1] == 0


async def test_what_a_trusted_key_signed_is_taken(
    machines: tuple[Machine, Machine], signed: Signed
) -> None:
    assert signed.record.row["value"] == "made by the first"
    assert await taken(machines[1])
    assert machines[1].warnings() == []


def test_no_poisoned_record_is_taken(machines: tuple[Machine, Machine], signed: Signed) -> None:
    second = machines[1]
    now = time.time()
    start, end = (time.strftime("%Y-%m-%d", time.gmtime(now + days * DAY)) for days in (-5, 5))
    second.environ.pop("LAYERLINE_TRUST")
    second.configure(
        f'[signing]\ntrust = [{{key = "{signed.own.public}", not_before = {start}, '
        f"revoked_from = {end}}}]\n"
    )
    settings = replace(second.settings(), store=second.home / "poisoned")
    with Store.open(settings.store) as store:

        def is_taken() -> bool:
            with SharedCache.open(store, settings, Journal(listeners=[events.append])) as shared:
                assert shared is not None
                return shared.find("call", signed.record.key) or shared.find(
                    "call", signed.record.key
                )

        for poison in (*POISONED, *MANIFESTS):
            events: list[Event] = []
            if poison in POISONED:
                signed.push(poison(signed))
            else:
                signed.put(poison(signed))
            assert not is_taken(), poison
            assert len({event.step for event in events}) == 1, poison  # it was said, once
            assert store.index.get("call", signed.record.key) is None
        for envelope in (with_layer(signed), with_two_signatures(signed)):
            signed.push(envelope)  # what they differ from is good
            assert is_taken()
            store.index.remove([("call", signed.record.key)])


def with_two_signatures(signed: Signed) -> bytes:
    """Signed by another team as well: DSSE asks for one that is trusted."""
    ours = parse_envelope(signed.sealed(signed.record))
    theirs = parse_envelope(foreign_key(signed)).signatures
    return replace(ours, signatures=(*theirs, *ours.signatures)).encode()


async def test_no_step_has_the_key(
    machines: tuple[Machine, Machine], signed: Signed, rootfs: Path
) -> None:
    query = """query ($root: ID!) { container { withRootfs(directory: $root) {
      withExec(args: ["sh", "-c", "%s"]) { stdout } } } }"""
    look = f"set; [ ! -e {signed.own.private} ] || cat {signed.own.private}"
    found = str(await machines[0].run(rootfs, query % look))
    assert "PATH" in found
    assert "SIGN_WITH" not in found
    assert "PRIVATE KEY" not in found


async def test_a_refusal_is_said_once(machines: tuple[Machine, Machine], signed: Signed) -> None:
    signed.push(foreign_key(signed))
    assert not await taken(machines[1])
    [said] = machines[1].warnings()
    assert "is not trusted" in said


@pytest.mark.parametrize("mode", [0o644, 0o640])
def test_a_key_that_others_can_read_is_refused(keys: tuple[Key, Key], mode: int) -> None:
    keys[0].private.chmod(mode)
    with pytest.raises(UsageError, match="chmod 600"):
        keys[0].trust()


def test_a_file_that_is_no_key_is_refused(tmp_path: Path, keys: tuple[Key, Key]) -> None:
    with pytest.raises(UsageError, match="openssl genpkey"):
        Trust.of(Signing(trust=(TrustedKey(path=keys[0].private),)))
    with pytest.raises(UsageError, match="cannot read the key"):
        Trust.of(Signing(sign_with=tmp_path / "none"))


@pytest.mark.parametrize(
    ("base", "login", "expected"),
    [
        ("https://registry.example.com", Login(username="u", secret="s"), True),
        ("https://registry.example.com", None, False),
        ("http://registry.example.com", Login(username="u", secret="s"), False),
        ("http://127.0.0.1:5000", None, True),
    ],
)
def test_without_keys_only_a_registry_of_ones_own_is_believed(
    base: str, login: Login | None, expected: object
) -> None:
    with httpx.Client() as client:
        endpoint = Endpoint(client=client, base=httpx.URL(base), login=login, most_tries=0)
        repository = Repository(endpoint, Reference.parse("registry.example.com/cache"))
        place = Place(name="x", repository=repository, written=repository, report=lambda _: None)
        assert place.is_private() is expected
        place.tags()
