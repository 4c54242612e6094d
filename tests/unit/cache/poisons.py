"""What a registry may have under the tag of a record, and nobody may take.

The functions of `POISONED` give envelopes, those of `MANIFESTS` manifests.
"""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from layerline.engine.cache.artifact import MANIFEST
from layerline.engine.cache.envelope import LEASE, RECORD, Envelope, Signature, parse_envelope
from layerline.engine.store.digest import digest_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.cache.test_trust import Signed

DAY = 24 * 3600


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


def contents_in_a_part_of_a_layer(signed: Signed) -> bytes:
    return with_layer(signed, contents=layer_document(within="opt"))


def contents_without_end(signed: Signed) -> bytes:
    return with_layer(signed, contents=layer_document(contents=layer_document()))


def a_layer_outside_of_the_store(signed: Signed) -> bytes:
    return with_layer(signed, digest="../../etc/passwd")


def a_name_that_claims_another_content(signed: Signed) -> bytes:
    return with_layer(signed, name="base-" + "1" * 64)


def no_json(_signed: Signed) -> bytes:
    return b"\x00 not JSON"


def a_deep_document(signed: Signed) -> bytes:
    return sealed_bytes(signed, b"[" * 100_000)


def sealed_bytes(signed: Signed, payload: bytes) -> bytes:
    return signed.own.trust().seal(payload, RECORD)


def edited(signed: Signed, edit: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(signed.record.payload())
    edit(document)
    return json.dumps(document).encode()


def with_layer(signed: Signed, *, name: str = "4" * 64, **changed: object) -> bytes:
    layer = layer_document(**changed)
    return sealed_bytes(
        signed, edited(signed, lambda document: document.update(layers=[[name, layer]]))
    )


def layer_document(**changed: object) -> dict[str, object]:
    return {
        "digest": "sha256:" + "2" * 64,
        "size": 100,
        "diff_id": "sha256:" + "3" * 64,
        "media_type": "application/vnd.oci.image.layer.v1.tar+gzip",
        "compression": "Gzip",
        "level": 1,
        "annotations": [],
        "within": "",
        "contents": None,
        **changed,
    }


def two_signatures_of_which_ours_is_forged(signed: Signed) -> bytes:
    ours = parse_envelope(signed.sealed(signed.record)).signatures[0]
    theirs = parse_envelope(foreign_key(signed))
    forged = replace(ours, sig=theirs.signatures[0].sig)
    return replace(theirs, signatures=(*theirs.signatures, forged)).encode()


def another_type_of_payload(signed: Signed) -> bytes:
    return signed.own.trust().seal(signed.record.payload(), LEASE)


def the_signature_of_another_type(signed: Signed) -> bytes:
    return replace(parse_envelope(another_type_of_payload(signed), LEASE), kind=RECORD).encode()


def older_format(signed: Signed) -> bytes:
    return sealed_bytes(signed, edited(signed, lambda document: document.update(format=0)))


def unknown_member(signed: Signed) -> bytes:
    return with_row(signed, trusted=True)


def incomplete_row(signed: Signed) -> bytes:
    return with_row(signed, objects=None)


def no_time(signed: Signed) -> bytes:
    return with_row(signed, expires="nan")


def objects_that_are_none(signed: Signed) -> bytes:
    return with_row(signed, objects=["x"])


def a_step_that_is_none(signed: Signed) -> bytes:
    return with_row(signed, made=["../x"])


def a_need_outside_of_the_store(signed: Signed) -> bytes:
    return signed.sealed(replace(signed.record, needs=("../../etc",)))


def with_row(signed: Signed, **members: object) -> bytes:
    """A record whose row has other members; None leaves one out."""
    row = {**signed.record.row, **members}
    row = {name: value for name, value in row.items() if value is not None}
    return signed.sealed(replace(signed.record, row=row))


def data_of_another_digest(signed: Signed) -> bytes:
    return described(signed, data=base64.b64encode(foreign_key(signed)).decode())


def data_that_is_not_base64(signed: Signed) -> bytes:
    return described(signed, data="=")


def a_wrong_size(signed: Signed) -> bytes:
    return described(signed, size=1)


def a_digest_that_is_none(signed: Signed) -> bytes:
    return described(signed, digest="sha256:../../x", data=None)


def a_configuration_that_is_lost(signed: Signed) -> bytes:
    return described(signed, digest="sha256:" + "0" * 64, data=None)


def a_configuration_of_an_image(signed: Signed) -> bytes:
    return described(signed, mediaType="application/vnd.oci.image.config.v1+json")


def an_index(_signed: Signed) -> bytes:
    """An index under the type that is asked for: under its own docker-registry does not give it."""
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "manifests": []}).encode()


def cut_off(signed: Signed) -> bytes:
    return described(signed)[:-20]


def described(signed: Signed, **changed: object) -> bytes:
    """A manifest that describes the good record in another way than it is."""
    envelope = signed.sealed(signed.record)
    config = {
        "mediaType": "application/vnd.dsse.envelope.v1+json",
        "digest": digest_bytes(envelope),
        "size": len(envelope),
        "data": base64.b64encode(envelope).decode(),
        **changed,
    }
    config = {name: value for name, value in config.items() if value is not None}
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}
    return json.dumps(document).encode()


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
    contents_in_a_part_of_a_layer,
    contents_without_end,
    a_layer_outside_of_the_store,
    a_name_that_claims_another_content,
    no_json,
    a_deep_document,
    two_signatures_of_which_ours_is_forged,
    another_type_of_payload,
    the_signature_of_another_type,
    older_format,
    unknown_member,
    incomplete_row,
    no_time,
    objects_that_are_none,
    a_step_that_is_none,
    a_need_outside_of_the_store,
)
MANIFESTS = (
    data_of_another_digest,
    data_that_is_not_base64,
    a_wrong_size,
    a_digest_that_is_none,
    a_configuration_that_is_lost,
    a_configuration_of_an_image,
    an_index,
    cut_off,
)
