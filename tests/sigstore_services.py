"""Fulcio and Rekor on this machine: a certificate authority, and a transparency log.

They answer as the real ones do (fulcio.proto, openapi.yaml of rekor, RFC 6962), with keys of their
own, which `trusted_root` names; sigstore's own library is what says whether they do it right.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from tests.http_server import running

if TYPE_CHECKING:
    from collections.abc import Iterator

IDENTITY = "https://ci.example.com/team/app/.github/workflows/publish.yml@refs/tags/v1"
ISSUER = "https://token.ci.example.com"
TOKEN = "header.payload.signature"
ORIGIN = "rekor.example.com - 1"
_SCTS = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
# https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md
_OLD_ISSUER, _ISSUER = (ObjectIdentifier(f"1.3.6.1.4.1.57264.1.{each}") for each in (1, 8))
_MINUTES = timedelta(minutes=10)
_SHA256 = ec.ECDSA(hashes.SHA256())


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@dataclass(kw_only=True)
class Services:
    """Their keys, the log's leaves, and the port; `refuse` is a status to answer with instead."""

    authority: ec.EllipticCurvePrivateKey = field(default_factory=_new_key)
    timestamps: ec.EllipticCurvePrivateKey = field(default_factory=_new_key)
    log: ec.EllipticCurvePrivateKey = field(default_factory=_new_key)
    leaves: list[bytes] = field(default_factory=list)
    port: int = 0
    refuse: int = 0
    root: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fulcio.example.com")])
        usage = partial(_usage, digital_signature=False, key_cert_sign=True)
        key = self.authority.public_key()
        self.root = (
            _certificate(name, name, key, days=365)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage(), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .sign(self.authority, hashes.SHA256())
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def certify(self, request: x509.CertificateSigningRequest) -> x509.Certificate:
        """A certificate for the key of a request, with the timestamp of a log embedded."""
        key = request.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        issuer = b"\x0c" + bytes([len(ISSUER)]) + ISSUER.encode()
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority.public_key())
        builder = (
            _certificate(x509.Name([]), self.root.subject, key)
            .add_extension(_usage(), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(identifier, critical=False)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(IDENTITY)]),
                critical=True,
            )
            .add_extension(x509.UnrecognizedExtension(_OLD_ISSUER, ISSUER.encode()), critical=False)
            .add_extension(x509.UnrecognizedExtension(_ISSUER, issuer), critical=False)
        )
        before = builder.sign(self.authority, hashes.SHA256())
        stamped = x509.UnrecognizedExtension(_SCTS, self._timestamp(before.tbs_certificate_bytes))
        return builder.add_extension(stamped, critical=False).sign(self.authority, hashes.SHA256())

    def _timestamp(self, precertificate: bytes) -> bytes:
        """A list of one signed certificate timestamp (RFC 6962, 3.2 and 3.3)."""
        at = int(datetime.now(UTC).timestamp() * 1000)
        issuer = hashlib.sha256(_der(self.authority)).digest()
        entry = issuer + len(precertificate).to_bytes(3, "big") + precertificate
        signature = self.timestamps.sign(
            struct.pack("!BBQH", 0, 0, at, 1) + entry + b"\0\0", _SHA256
        )
        made = b"\0" + hashlib.sha256(_der(self.timestamps)).digest()
        made += struct.pack("!QHBBH", at, 0, 4, 3, len(signature)) + signature
        listed = struct.pack("!HH", len(made) + 2, len(made)) + made
        return b"\x04" + bytes([len(listed)]) + listed

    def enter(self, proposed: dict[str, Any]) -> dict[str, Any]:
        """A new entry of the log for a DSSE envelope, as Rekor 1 answers."""
        content = proposed["spec"]["proposedContent"]
        envelope = json.loads(content["envelope"])
        payload = base64.b64decode(envelope["payload"])
        [signature], [verifier] = envelope["signatures"], content["verifiers"]
        _check(payload, envelope["payloadType"], signature["sig"], verifier)
        body = canonical(
            {
                "apiVersion": "0.0.1",
                "kind": "dsse",
                "spec": {
                    "envelopeHash": _hash(content["envelope"].encode()),
                    "payloadHash": _hash(payload),
                    "signatures": [{"signature": signature["sig"], "verifier": verifier}],
                },
            }
        )
        self.leaves.append(hashlib.sha256(b"\0" + body).digest())
        index, size = len(self.leaves) - 1, len(self.leaves)
        root = _root(self.leaves)
        log = hashlib.sha256(_der(self.log)).digest()
        note = f"{ORIGIN}\n{size}\n{base64.b64encode(root).decode()}\n"
        signed = base64.b64encode(log[:4] + self.log.sign(note.encode(), _SHA256)).decode()
        promised = {
            "body": base64.b64encode(body).decode(),
            "integratedTime": int(datetime.now(UTC).timestamp()),
            "logID": log.hex(),
            "logIndex": index,
        }
        promise = self.log.sign(canonical(promised), _SHA256)
        proof = {
            "checkpoint": f"{note}\n\u2014 {ORIGIN.split()[0]} {signed}\n",
            "hashes": [each.hex() for each in _path(index, self.leaves)],
            "logIndex": index,
            "rootHash": root.hex(),
            "treeSize": size,
        }
        verification = {
            "inclusionProof": proof,
            "signedEntryTimestamp": base64.b64encode(promise).decode(),
        }
        return {self.leaves[-1].hex(): {**promised, "verification": verification}}

    def trusted_root(self) -> dict[str, Any]:
        """The keys in the form of sigstore_trustroot.proto."""
        since = {"start": "2020-01-01T00:00:00Z"}

        def key(of: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
            raw = base64.b64encode(_der(of)).decode()
            identifier = base64.b64encode(hashlib.sha256(_der(of)).digest()).decode()
            return {
                "baseUrl": self.url,
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": raw,
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": since,
                },
                "logId": {"keyId": identifier},
            }

        root = self.root.public_bytes(serialization.Encoding.DER)
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [key(self.log)],
            "certificateAuthorities": [
                {
                    "subject": {"organization": "example", "commonName": "fulcio.example.com"},
                    "uri": self.url,
                    "certChain": {"certificates": [{"rawBytes": base64.b64encode(root).decode()}]},
                    "validFor": since,
                }
            ],
            "ctlogs": [key(self.timestamps)],
        }


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int = 0
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _MINUTES)
        .not_valid_after(now + _MINUTES + timedelta(days=days))
    )


def _usage(*, digital_signature: bool = True, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _check(payload: bytes, kind: str, signature: str, verifier: str) -> None:
    """Raise InvalidSignature as the log refuses what the certificate's key has not signed."""
    key = x509.load_pem_x509_certificate(base64.b64decode(verifier)).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    key.verify(base64.b64decode(signature), signed, _SHA256)


def canonical(document: object) -> bytes:
    """JSON as RFC 8785 has it, for the values that are here."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _hash(data: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()}


def _split(size: int) -> int:
    """The largest power of two below a size (RFC 6962, 2.1)."""
    return 1 << (size - 1).bit_length() - 1


def _root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    at = _split(len(leaves))
    return hashlib.sha256(b"\1" + _root(leaves[:at]) + _root(leaves[at:])).digest()


def _path(index: int, leaves: list[bytes]) -> list[bytes]:
    """The audit path of a leaf (RFC 6962, 2.1.1)."""
    if len(leaves) == 1:
        return []
    at = _split(len(leaves))
    if index < at:
        return [*_path(index, leaves[:at]), _root(leaves[at:])]
    return [*_path(index - at, leaves[at:]), _root(leaves[:at])]


class _Answer(BaseHTTPRequestHandler):
    """The two endpoints that a signer needs."""

    def __init__(self, *args: Any, services: Services) -> None:  # noqa: ANN401
        self.services = services
        super().__init__(*args)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.services.refuse:
            self._answer(self.services.refuse, {"message": "refused for the test"})
        elif self.path == "/api/v2/signingCert":
            self._certify(body)
        elif self.path == "/api/v1/log/entries":
            self._answer(201, self.services.enter(body))
        else:
            self._answer(404, {})

    def _certify(self, body: dict[str, Any]) -> None:
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer(401, {"message": "invalid identity token"})
            return
        pem = base64.b64decode(body["certificateSigningRequest"])
        request = x509.load_pem_x509_csr(pem)
        assert request.is_signature_valid
        chain = (self.services.certify(request), self.services.root)
        texts = [each.public_bytes(serialization.Encoding.PEM).decode() for each in chain]
        self._answer(200, {"signedCertificateEmbeddedSct": {"chain": {"certificates": texts}}})

    def _answer(self, status: int, document: object) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving_sigstore() -> Iterator[Services]:
    """Both services at one port, for the block."""
    services = Services()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Answer, services=services))
    with running(server) as services.port:
        yield services
