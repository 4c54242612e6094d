"""Signs statements with a key that is thrown away, certified for the identity of a CI job.

Fulcio certifies the key for the identity in a token (OpenID Connect), Rekor logs the signature: who
verifies trusts these two, and no key has to be kept.

https://github.com/sigstore/fulcio/blob/main/fulcio.proto
https://github.com/sigstore/rekor/blob/main/openapi.yaml
"""

from __future__ import annotations

import base64
import json
import ssl
import urllib.request
from typing import TYPE_CHECKING, Any, NamedTuple

from layerline.pipeline.programs.attachment import signing
from layerline.pipeline.programs.attachment.registry import fetch

if TYPE_CHECKING:
    import pathlib

KEY_ARGUMENTS = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")


class ServiceError(Exception):
    """A service of sigstore that refuses, or answers something else."""


class Services(NamedTuple):
    """Where Fulcio and Rekor are."""

    fulcio: str
    rekor: str


class Signer:
    """One key and its certificate, for all statements of a call: it is valid for ten minutes.

    `path` is where the key is kept for as long.
    """

    def __init__(self, token: str, services: Services, path: pathlib.Path) -> None:
        """Make the key and have it certified."""
        self.services = services
        signing.openssl("genpkey", *KEY_ARGUMENTS, "-out", str(path))
        self.key = signing.open_key(path)
        request = signing.openssl("req", "-new", "-key", str(path), "-subj", "/", "-outform", "PEM")
        self.certificate = self._certify(token, request)

    def bundle(self, payload: bytes) -> dict[str, Any]:
        """A signed statement, with its entry in the log."""
        signature = self.key.sign(signing.signed_bytes(payload))
        signed = signing.envelope(payload, signature)
        raw = signing.openssl("x509", "-outform", "DER", given=self.certificate.encode())
        return {
            "mediaType": signing.BUNDLE,
            "verificationMaterial": {
                "certificate": {"rawBytes": base64.b64encode(raw).decode()},
                "tlogEntries": [self._log(signed)],
            },
            "dsseEnvelope": signed,
        }

    def _certify(self, token: str, request: bytes) -> str:
        """The certificate that Fulcio gives for a signing request, in PEM."""
        body = {"certificateSigningRequest": base64.b64encode(request).decode()}
        url = f"{self.services.fulcio.rstrip('/')}/api/v2/signingCert"
        answer = post(url, body, {"Authorization": f"Bearer {token}"})
        try:
            return str(answer["signedCertificateEmbeddedSct"]["chain"]["certificates"][0])
        except (KeyError, IndexError, TypeError) as exc:
            message = f"{url} gave no certificate with an embedded timestamp"
            raise ServiceError(message) from exc

    def _log(self, signed: dict[str, Any]) -> dict[str, Any]:
        """The entry of the log for an envelope, as a bundle has it."""
        verifier = base64.b64encode(self.certificate.encode()).decode()
        content = {"envelope": json.dumps(signed), "verifiers": [verifier]}
        spec = {"proposedContent": content}
        url = f"{self.services.rekor.rstrip('/')}/api/v1/log/entries"
        answer = post(url, {"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}, {})
        try:
            [entry] = answer.values()
            return of_bundle(entry)
        except (KeyError, ValueError, TypeError, AttributeError) as exc:
            message = f"{url} gave no entry with an inclusion proof"
            raise ServiceError(message) from exc


def of_bundle(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of Rekor's API as bundles have it: numbers as texts, digests in base64."""
    verification = entry["verification"]
    proof = verification["inclusionProof"]
    return {
        "logIndex": str(entry["logIndex"]),
        "logId": {"keyId": _base64(entry["logID"])},
        "kindVersion": {"kind": "dsse", "version": "0.0.1"},
        "integratedTime": str(entry["integratedTime"]),
        "inclusionPromise": {"signedEntryTimestamp": verification["signedEntryTimestamp"]},
        "inclusionProof": {
            "logIndex": str(proof["logIndex"]),
            "rootHash": _base64(proof["rootHash"]),
            "treeSize": str(proof["treeSize"]),
            "hashes": [_base64(each) for each in proof["hashes"]],
            "checkpoint": {"envelope": proof["checkpoint"]},
        },
        "canonicalizedBody": entry["body"],
    }


def _base64(text: str) -> str:
    """Hexadecimal digits in base64."""
    return base64.b64encode(bytes.fromhex(text)).decode()


def post(url: str, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    """Post JSON, and read JSON. Raises `ServiceError` with what the service says."""
    kinds = {"Content-Type": "application/json", "Accept": "application/json"}
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=kinds, method="POST")
    for name, value in headers.items():
        request.add_unredirected_header(name, value)
    context = ssl.create_default_context() if url.startswith("https:") else None
    answer = fetch(request, context)
    said = answer.body.decode(errors="replace")
    if answer.status not in (200, 201):
        message = f"{url} answered with {answer.status}: {said[:300]}"
        raise ServiceError(message)
    try:
        found: dict[str, Any] = json.loads(said)
    except ValueError as exc:
        message = f"{url} did not answer with JSON"
        raise ServiceError(message) from exc
    return found
