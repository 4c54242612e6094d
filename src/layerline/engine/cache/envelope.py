"""The envelope of a record: DSSE, with the signatures of its payload.

https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.engine.store.digest import canonical
from layerline.errors import ArchiveInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

RECORD = "application/vnd.layerline.cache.record.v1+json"
LEASE = "application/vnd.layerline.cache.lease.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A signature by the key that a reader may know by `keyid`."""

    keyid: str
    sig: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A payload of a type and its signatures, not verified."""

    payload: bytes
    kind: str = RECORD
    signatures: tuple[Signature, ...] = ()

    def encode(self) -> bytes:
        """The JSON of the envelope."""
        signatures = [
            {"keyid": each.keyid, "sig": base64.b64encode(each.sig).decode()}
            for each in self.signatures
        ]
        payload = base64.b64encode(self.payload).decode()
        return canonical({"payloadType": self.kind, "payload": payload, "signatures": signatures})


def parse_envelope(data: bytes, kind: str = RECORD) -> Envelope:
    """The envelope of bytes from outside, of a payload of a type. Raises ArchiveInvalid."""
    try:
        document = json.loads(data)
        if document["payloadType"] != kind:
            message = f"the envelope holds a {document['payloadType']!r}, not a {kind!r}"
            raise ArchiveInvalid(message)
        return Envelope(
            kind=kind,
            payload=base64.b64decode(document["payload"], validate=True),
            signatures=_signatures(document["signatures"]),
        )
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError) as exc:
        message = f"invalid envelope of a record: {exc!r}"
        raise ArchiveInvalid(message) from exc


def _signatures(found: Sequence[dict[str, str]]) -> tuple[Signature, ...]:
    return tuple(
        Signature(keyid=str(each["keyid"]), sig=base64.b64decode(each["sig"], validate=True))
        for each in found[:16]
    )
