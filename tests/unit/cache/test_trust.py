"""A record is taken only if a trusted key signed it, for this key and this repository, in time."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from layerline.engine.cache.artifact import artifact_of
from layerline.engine.cache.envelope import RECORD, Envelope, Signature, parse_envelope
from layerline.engine.cache.place import Place
from layerline.engine.cache.record import Record, parse_record, tag_of
from layerline.engine.cache.shared import SharedCache
from layerline.engine.cache.trust import Trust
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry.client import Endpoint
from layerline.engine.image.registry.connections import Registries
from layerline.engine.image.registry.credentials import Login
from layerline.engine.image.registry.repository import Repository
from layerline.engine.store.store import Store
from layerline.errors import UsageError
from layerline.log import Journal
from layerline.settings import Settings
from layerline.signing import Signing, TrustedKey
from tests.unit.cache.test_shared_calls import call

if TYPE_CHECKING:
    from collections.abc import Callable
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
async def signed(machines: tuple[Machine, Machine], keys: tuple[Key, Key], cache: str) -> Signed:
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
    return Signed(cache=cache, tag=tag, record=record, own=own, foreign=foreign)


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


def unsigned(signed: Signed) -> bytes:
    return Envelope(payload=signed.record.payload()).encode()


def foreign_key(signed: Signed) -> bytes:
    return signed.foreign.trust().seal(signed.record.payload(), RECORD)


def foreign_key_under_our_name(signed: Signed) -> bytes:
    ours = parse_envelope(signed.sealed(signed.record)).signatures[0]
    theirs = parse_envelope(foreign_key(signed))
    forged = Signature(keyid=ours.keyid, sig=theirs.signatures[0].sig)
    return Envelope(payload=theirs.payload, signatures=(forged,)).encode()


def changed_payload(signed: Signed) -> bytes:
    sealed = parse_envelope(signed.sealed(signed.record))
    changed = replace(signed.record, row={**signed.record.row, "value": "forged"})
    return Envelope(payload=changed.payload(), signatures=sealed.signatures).encode()


def another_repository(signed: Signed) -> bytes:
    return signed.sealed(replace(signed.record, repository="cache/other"))


def another_key(signed: Signed) -> bytes:
    return signed.sealed(replace(signed.record, key="0" * 64))


def another_table(signed: Signed) -> bytes:
    return signed.sealed(replace(signed.record, table="result"))


def before_the_key_was_trusted(signed: Signed) -> bytes:
    return signed.sealed(replace(signed.record, made=int(time.time()) - 10 * DAY))


def after_the_key_was_revoked(signed: Signed) -> bytes:
    return signed.sealed(replace(signed.record, made=int(time.time()) + 10 * DAY))


def truncated_envelope(signed: Signed) -> bytes:
    return signed.sealed(signed.record)[:-20]


def truncated_payload(signed: Signed) -> bytes:
    return sealed_bytes(signed, signed.record.payload()[:-20])


def oversized(signed: Signed) -> bytes:
    return signed.sealed(replace(signed.record, row={**signed.record.row, "fat": "x" * (5 << 20)}))


def another_format(signed: Signed) -> bytes:
    return sealed_bytes(signed, edited(signed, lambda document: document.update(format=99)))


def without_a_key(signed: Signed) -> bytes:
    return sealed_bytes(signed, edited(signed, lambda document: document.pop("key")))


def layers_that_are_none(signed: Signed) -> bytes:
    return sealed_bytes(signed, edited(signed, lambda document: document.update(layers="x")))


def a_layer_of_a_wrong_size(signed: Signed) -> bytes:
    return with_layer(signed, size=-1)


def a_layer_of_an_unknown_type(signed: Signed) -> bytes:
    return with_layer(signed, media_type="text/html")


def a_layer_of_another_compression(signed: Signed) -> bytes:
    return with_layer(signed, compression="Zstd")


def a_directory_under_the_name_of_another(signed: Signed) -> bytes:
    return with_layer(signed, name="packed-" + "2" * 64, within="opt")


def a_layer_outside_of_the_store(signed: Signed) -> bytes:
    return with_layer(signed, digest="../../etc/passwd")


def a_name_that_claims_another_content(signed: Signed) -> bytes:
    return with_layer(signed, name="base-" + "1" * 64)


def no_json(_signed: Signed) -> bytes:
    return b"\x00 not JSON"


def a_deep_document(signed: Signed) -> bytes:
    return sealed_bytes(signed, b"[" * 100_000)


POISONED = (
    unsigned,
    foreign_key,
    foreign_key_under_our_name,
    changed_payload,
    another_repository,
    another_key,
    another_table,
    before_the_key_was_trusted,
    after_the_key_was_revoked,
    truncated_envelope,
    truncated_payload,
    oversized,
    another_format,
    without_a_key,
    layers_that_are_none,
    a_layer_of_a_wrong_size,
    a_layer_of_an_unknown_type,
    a_layer_of_another_compression,
    a_directory_under_the_name_of_another,
    a_layer_outside_of_the_store,
    a_name_that_claims_another_content,
    no_json,
    a_deep_document,
)


def sealed_bytes(signed: Signed, payload: bytes) -> bytes:
    return signed.own.trust().seal(payload, RECORD)


def edited(signed: Signed, edit: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(signed.record.payload())
    edit(document)
    return json.dumps(document).encode()


def with_layer(signed: Signed, *, name: str = "4" * 64, **changed: object) -> bytes:
    layer = {
        "digest": "sha256:" + "2" * 64,
        "size": 100,
        "diff_id": "sha256:" + "3" * 64,
        "media_type": "application/vnd.oci.image.layer.v1.tar+gzip",
        "compression": "Gzip",
        "level": 1,
        "annotations": [],
        "within": "",
        **changed,
    }
    return sealed_bytes(
        signed, edited(signed, lambda document: document.update(layers=[[name, layer]]))
    )


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
        for poison in POISONED:
            signed.push(poison(signed))
            with SharedCache.open(store, settings, Journal()) as shared:
                assert shared is not None
                assert not shared.find("call", signed.record.key), poison
            assert store.index.get("call", signed.record.key) is None
        signed.push(with_layer(signed))
        with SharedCache.open(store, settings, Journal()) as shared:
            assert shared is not None
            assert shared.find("call", signed.record.key)  # what they differ from is good


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
