"""Keys that are believed, and to sign with: Ed25519, or ECDSA with SHA-256 on P-256, in PEM."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from layerline.errors import UsageError
from layerline.signing import read_private_file, read_public_file

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key, believed in what was finished from `not_before` on and before `revoked_from`.

    Both are in seconds since the epoch. `hint` is what bundles name it by: the digest of its DER.
    """

    name: str
    key: Ed25519PublicKey | EllipticCurvePublicKey
    hint: str
    not_before: float = 0.0
    revoked_from: float | None = None

    def has_signed(self, signature: bytes, data: bytes) -> bool:
        """Whether a signature of bytes is by this key."""
        try:
            if isinstance(self.key, Ed25519PublicKey):
                self.key.verify(signature, data)
            else:
                self.key.verify(signature, data, ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateKey:
    """A key to sign with, and its public part."""

    key: Ed25519PrivateKey | EllipticCurvePrivateKey
    public: PublicKey

    def sign(self, data: bytes) -> bytes:
        """A signature of bytes."""
        if isinstance(self.key, Ed25519PrivateKey):
            return bytes(self.key.sign(data))
        return bytes(self.key.sign(data, ECDSA(hashes.SHA256())))


def read_private_key(path: Path) -> PrivateKey:
    """The private key in a file. Raises UsageError for a file that has none, or is open to all."""
    data = read_private_file(path)
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    curve = key.curve if isinstance(key, EllipticCurvePrivateKey) else None
    if not isinstance(key, Ed25519PrivateKey) and not isinstance(curve, SECP256R1):
        message = (
            f"{path} has no private key of Ed25519 or ECDSA P-256 in PEM, without a passphrase: "
            "make one with 'openssl genpkey -algorithm ed25519 -out FILE'"
        )
        raise UsageError(message)
    assert isinstance(key, Ed25519PrivateKey | EllipticCurvePrivateKey)
    return PrivateKey(key=key, public=_public(key.public_key(), path.name))


def read_key(
    path: Path, *, not_before: float = 0.0, revoked_from: float | None = None
) -> PublicKey:
    """The key in a file. Raises UsageError for a file that has none."""
    data = read_public_file(path)
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    curve = key.curve if isinstance(key, EllipticCurvePublicKey) else None
    if b"PRIVATE KEY-----" in data:
        message = (
            f"{path} is a private key: write its public key with "
            f"'openssl pkey -in {path.name} -pubout -out PUBLIC.pem'"
        )
        raise UsageError(message)
    if not isinstance(key, Ed25519PublicKey) and not isinstance(curve, SECP256R1):
        message = (
            f"{path} has no public key of Ed25519 or ECDSA P-256 in PEM: "
            f"write that of a private key with 'openssl pkey -in PRIVATE -pubout -out PUBLIC.pem'"
        )
        raise UsageError(message)
    assert isinstance(key, Ed25519PublicKey | EllipticCurvePublicKey)
    return replace(_public(key, path.name), not_before=not_before, revoked_from=revoked_from)


def _public(key: Ed25519PublicKey | EllipticCurvePublicKey, name: str) -> PublicKey:
    encoded: bytes = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    hint = base64.b64encode(hashlib.sha256(encoded).digest()).decode()
    return PublicKey(name=name, key=key, hint=hint)
