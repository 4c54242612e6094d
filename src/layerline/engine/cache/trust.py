"""Who is believed: signatures of records, by keys that the user has named.

Invariant: nothing of a record is used before a signature by a trusted key was verified, or, where
the user has named no key, before its place was found to be the user's own.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from layerline.engine.cache.envelope import Envelope, Signature
from layerline.engine.store.digest import digest_bytes
from layerline.errors import ArchiveInvalid, UsageError
from layerline.signing import read_private_file, read_public_file, signed_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from layerline.signing import Signing, TrustedKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """A key that is believed for a time; `keyid` is the digest of the key."""

    keyid: str
    key: Ed25519PublicKey
    not_before: float = 0.0
    revoked_from: float | None = None

    def refusal(self, made: float) -> str | None:
        """Why nothing that was made at a time is believed; None if it is."""
        if made < self.not_before:
            return "it is older than the time from which its key is trusted"
        if self.revoked_from is not None and made >= self.revoked_from:
            return "its key was revoked before it was made"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The keys of a session: one to sign with, if there is one, and those that are believed."""

    signer: Ed25519PrivateKey | None = None
    verifiers: tuple[Verifier, ...] = ()

    @classmethod
    def of(cls, signing: Signing) -> Trust:
        """Read the key files. Raises UsageError for one that is missing, no key, or open to all."""
        signer = None if signing.sign_with is None else _private(signing.sign_with)
        verifiers = [_verifier(each) for each in signing.trust]
        if signer is not None:
            own = signer.public_key()
            known = {each.keyid for each in verifiers}
            if (keyid := _keyid(own)) not in known:
                verifiers.append(Verifier(keyid=keyid, key=own))
        return cls(signer=signer, verifiers=tuple(verifiers))

    def seal(self, payload: bytes, kind: str) -> bytes:
        """A payload of a type in its envelope, signed if there is a key to sign with."""
        if self.signer is None:
            return Envelope(payload=payload, kind=kind).encode()
        signature: bytes = self.signer.sign(signed_bytes(payload, kind))
        signed = Signature(keyid=_keyid(self.signer.public_key()), sig=signature)
        return Envelope(payload=payload, kind=kind, signatures=(signed,)).encode()

    def check_signature(self, envelope: Envelope) -> Verifier:
        """The trusted key that signed the payload. Raises ArchiveInvalid if none did."""
        by_id = {each.keyid: each for each in self.verifiers}
        known = [each for each in envelope.signatures if each.keyid in by_id]
        for signature in known:
            verifier = by_id[signature.keyid]
            try:
                verifier.key.verify(signature.sig, signed_bytes(envelope.payload, envelope.kind))
            except InvalidSignature:
                continue
            return verifier
        raise ArchiveInvalid(_missing(envelope.signatures, known))


def _missing(signatures: Sequence[Signature], known: Sequence[Signature]) -> str:
    if known:
        return "its signature does not match"
    if signatures:
        return f"it is signed by {signatures[0].keyid[:80]!r}, which is not trusted"
    return "it is not signed"


def _verifier(trusted: TrustedKey) -> Verifier:
    key = _public(trusted.path)
    return Verifier(
        keyid=_keyid(key),
        key=key,
        not_before=trusted.not_before,
        revoked_from=trusted.revoked_from,
    )


def _keyid(key: Ed25519PublicKey) -> str:
    """The digest of a public key in its own encoding (RFC 8032)."""
    raw: bytes = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return digest_bytes(raw)


def _private(path: Path) -> Ed25519PrivateKey:
    data = read_private_file(path)
    load = functools.partial(serialization.load_pem_private_key, data, password=None)
    try:
        key = load()
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise _no_key(path, "private") from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, "private")
    return key


def _public(path: Path) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(read_public_file(path))
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise _no_key(path, "public") from exc
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, "public")
    return key


def _no_key(path: Path, kind: str) -> UsageError:
    return UsageError(
        f"{path} has no {kind} Ed25519 key in PEM: "
        "make one with 'openssl genpkey -algorithm ed25519 -out FILE', its public part with "
        "'openssl pkey -in FILE -pubout'"
    )
