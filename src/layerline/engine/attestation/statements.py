"""Statements about images: in-toto statements, alone or in a signed sigstore bundle.

Everything here is from outside: what cannot be read is `ArchiveInvalid`.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from layerline.errors import ArchiveInvalid
from layerline.signing import signed_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

PAYLOAD = "application/vnd.in-toto+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PROVENANCE = "https://slsa.dev/provenance/v1"
SUMMARY = "https://slsa.dev/verification_summary/v1"
TESTS = "https://in-toto.io/attestation/test-result/v0.1"
# A level of a summary: the layers were built again, and are the same.
REBUILT = "LAYERLINE_REBUILT"
STATEMENT = "https://in-toto.io/Statement/v1"
_MOST_SIGNATURES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement, not verified. `signatures` are by the hint of their key.

    `material` is what the bundle says of who signed; empty for a statement alone.
    """

    payload: bytes
    predicate_type: str
    predicate: Mapping[str, Any]
    subjects: frozenset[str]
    signatures: tuple[tuple[str, bytes], ...] = ()
    material: Mapping[str, Any] = field(default_factory=dict)

    @property
    def signed_bytes(self) -> bytes:
        """What its signatures are of."""
        return signed_bytes(self.payload, PAYLOAD)

    @property
    def is_of_identity(self) -> bool:
        """Whether a certificate says who signed, and not the hint of a key."""
        return "certificate" in self.material or "x509CertificateChain" in self.material

    def digests(self, where: str) -> dict[str, str]:
        """Digests by name of the resources in a list of the predicate, `a.b`; others are left."""
        found: Any = self.predicate
        for name in where.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        entries = [each for each in found or () if isinstance(each, dict)]
        return {
            str(each["name"]): f"sha256:{each['digest']['sha256']}"
            for each in entries
            if "name" in each and "sha256" in (each.get("digest") or {})
        }


def parse_attached(kind: str, data: bytes) -> Statement:
    """The statement in what is attached as a kind of artifact. Raises ArchiveInvalid."""
    try:
        if kind == PAYLOAD:
            return _parse(data)
        document = json.loads(data)
        envelope = document["dsseEnvelope"]
        if envelope["payloadType"] != PAYLOAD:
            message = f"the envelope holds a {envelope['payloadType']!r}, not a statement"
            raise ArchiveInvalid(message)
        material = document["verificationMaterial"]
        hint = str(material.get("publicKey", {}).get("hint", ""))
        return _parse(
            base64.b64decode(envelope["payload"], validate=True),
            signatures=tuple(
                (str(each.get("keyid") or hint), base64.b64decode(each["sig"], validate=True))
                for each in envelope["signatures"][:_MOST_SIGNATURES]
            ),
            material=material,
        )
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error, RecursionError) as exc:
        message = f"invalid statement: {exc!r}"
        raise ArchiveInvalid(message) from exc


def _parse(
    payload: bytes,
    signatures: tuple[tuple[str, bytes], ...] = (),
    material: Mapping[str, Any] | None = None,
) -> Statement:
    document = json.loads(payload)
    if document["_type"] != STATEMENT or not isinstance(document["predicate"], dict):
        message = f"unknown statement {document['_type']!r}"
        raise ArchiveInvalid(message)
    return Statement(
        payload=payload,
        predicate_type=str(document["predicateType"]),
        predicate=document["predicate"],
        subjects=frozenset(f"sha256:{each['digest']['sha256']}" for each in document["subject"]),
        signatures=signatures,
        material=material or {},
    )
