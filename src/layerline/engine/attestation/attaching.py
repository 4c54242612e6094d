"""A statement of this machine's own, signed and attached to an image next to those of others.

https://slsa.dev/spec/v1.0/verification_summary
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from layerline.engine.attestation.referrers import lists_referrers, read_tagged_list
from layerline.engine.attestation.statements import BUNDLE, PAYLOAD, REBUILT, STATEMENT, SUMMARY
from layerline.engine.image import manifests
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry.connections import Registries
from layerline.engine.store.digest import canonical, digest_bytes
from layerline.signing import signed_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.engine.attestation.keys import PrivateKey
    from layerline.engine.attestation.verification import Verification
    from layerline.engine.image.registry.repository import Repository
    from layerline.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What was verified: by whom, and whether the layers were built again."""

    verifier: str
    is_rebuilt: bool


def attach_summary(
    settings: Settings, address: str, found: Verification, summary: Summary, key: PrivateKey
) -> str:
    """Sign that an image was verified, and attach it; the digest of the referrer."""
    reference = Reference.parse(address).with_default_tag()
    payload = canonical(_statement(reference, found, summary))
    signature = base64.b64encode(key.sign(signed_bytes(payload, PAYLOAD))).decode()
    bundle = {
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": key.public.hint}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD,
            "signatures": [{"sig": signature, "keyid": key.public.hint}],
        },
    }
    with Registries.open(settings) as registries:
        repository = registries.registry(reference)
        return _attach(repository, found.subject.digest, canonical(bundle))


def _statement(reference: Reference, found: Verification, summary: Summary) -> dict[str, Any]:
    assert found.provenance is not None
    digest = {"sha256": found.subject.digest.partition(":")[2]}
    provenance = digest_bytes(found.provenance.statement.payload).partition(":")[2]
    return {
        "_type": STATEMENT,
        "subject": [{"name": reference.repository, "digest": digest}],
        "predicateType": SUMMARY,
        "predicate": {
            "verifier": {"id": summary.verifier},
            "timeVerified": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "resourceUri": f"oci:{reference.repository}@{found.subject.digest}",
            "policy": {"uri": "urn:layerline:verify"},
            "inputAttestations": [{"digest": {"sha256": provenance}}],
            "verificationResult": "PASSED",
            "verifiedLevels": [REBUILT] if summary.is_rebuilt else [],
            "slsaVersion": "1.0",
        },
    }


def _attach(repository: Repository, image: str, data: bytes) -> str:
    subject = repository.manifest(image).descriptor
    layer = manifests.describe(data, BUNDLE)
    annotations = {
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": SUMMARY,
    }
    manifest = canonical(
        {
            "schemaVersion": 2,
            "mediaType": manifests.OCI.manifest,
            "artifactType": BUNDLE,
            "config": manifests.EMPTY.document(),
            "layers": [layer.document()],
            "subject": subject.document(),
            "annotations": annotations,
        }
    )
    repository.push_blob(layer, data)
    repository.push_blob(manifests.EMPTY, b"{}")
    digest = digest_bytes(manifest)
    repository.put_manifest(digest, manifest, manifests.OCI.manifest)
    if not lists_referrers(repository, image):
        entry = {
            **manifests.describe(manifest, manifests.OCI.manifest).document(),
            "artifactType": BUNDLE,
            "annotations": annotations,
        }
        _list(repository, image, [*read_tagged_list(repository, image), entry])
    return digest


def _list(repository: Repository, image: str, entries: Sequence[dict[str, Any]]) -> None:
    """Write the tag that lists referrers where the registry has no API for them."""
    index = {"schemaVersion": 2, "mediaType": manifests.OCI.index, "manifests": list(entries)}
    repository.put_manifest(image.replace(":", "-"), canonical(index), manifests.OCI.index)
