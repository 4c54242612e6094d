"""Signs statements with a key: DSSE envelopes in sigstore bundles, by the `openssl` program.

https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pathlib

PAYLOAD = "application/vnd.in-toto+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
# What the DER of a public key begins with (RFC 8410, RFC 5480).
ED25519_DER = bytes.fromhex("302a300506032b6570032100")
P256_DER = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")


class KeyFileError(Exception):
    """A key that cannot be used."""


class Key(NamedTuple):
    """A private key in a file, and its public part in DER."""

    path: pathlib.Path
    public: bytes

    @property
    def hint(self) -> str:
        """What names the public key: its digest, as cosign has it."""
        return base64.b64encode(hashlib.sha256(self.public).digest()).decode()

    def sign(self, data: bytes) -> bytes:
        """A signature of bytes: Ed25519, or ECDSA with SHA-256."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            argv = ["pkeyutl", "-sign", "-rawin", "-inkey", str(self.path), "-in", file.name]
            if not self.public.startswith(ED25519_DER):
                argv += ["-digest", "sha256"]
            return openssl(*argv)


def open_key(path: pathlib.Path) -> Key:
    """The key in a file. Raises `KeyFileError` for another kind than Ed25519 and ECDSA P-256."""
    try:
        argv = ["pkey", "-in", str(path), "-passin", "pass:", "-pubout", "-outform", "DER"]
        public = openssl(*argv)
    except KeyFileError as exc:
        raise unusable() from exc
    if not public.startswith((ED25519_DER, P256_DER)):
        raise unusable()
    return Key(path, public)


def unusable() -> KeyFileError:
    """The error of what is not a key to sign with."""
    return KeyFileError(
        "--sign-key has no private key without a passphrase, of Ed25519 or ECDSA P-256, in PEM: "
        "make one with 'openssl genpkey -algorithm ed25519 -out FILE'"
    )


def openssl(*argv: str, given: bytes = b"") -> bytes:
    """What `openssl` writes; its words do not hold the key."""
    done = subprocess.run(["openssl", *argv], input=given, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        message = f"openssl {argv[0]} failed: {said}"
        raise KeyFileError(message)
    return done.stdout


def signed_bytes(payload: bytes) -> bytes:
    """What a signature is of (DSSE's PAE)."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD), PAYLOAD.encode(), len(payload), payload)


def envelope(payload: bytes, signature: bytes, keyid: str = "") -> dict[str, Any]:
    """A payload with its signature."""
    signed = {"sig": base64.b64encode(signature).decode(), "keyid": keyid}
    encoded = base64.b64encode(payload).decode()
    return {"payload": encoded, "payloadType": PAYLOAD, "signatures": [signed]}


def bundle(payload: bytes, key: Key) -> dict[str, Any]:
    """A statement signed with a key, as cosign and sigstore's libraries read it."""
    signature = key.sign(signed_bytes(payload))
    return {
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": key.hint}, "tlogEntries": []},
        "dsseEnvelope": envelope(payload, signature, key.hint),
    }
