"""Attaches statements and documents to an image in a registry, as its OCI referrers.

    python3 -m (this module) ADDRESS DIGEST REQUEST SECRETS FULCIO REKOR

REQUEST is a JSON file: `documents` (`artifactType`, `title`, `text`) are attached as they are;
each of `statements` (`predicateType`, `predicate`) becomes an in-toto statement about the image.
The directory SECRETS may have `login`, for the registry, and `key`, to sign with, or `token`, the
identity for a key of Fulcio at the URL FULCIO, whose signatures Rekor logs.
Prints one line for each referrer, as JSON.
"""

from __future__ import annotations

import gzip
import json
import pathlib
import sys
import tempfile
from functools import partial
from typing import TYPE_CHECKING, Any

from layerline.pipeline.programs.attachment import keyless, signing
from layerline.pipeline.programs.attachment.registry import (
    INDEXES,
    MANIFEST,
    MANIFESTS,
    Address,
    RegistryError,
    Repository,
    digest,
    parse_address,
    parse_login,
)

if TYPE_CHECKING:
    from collections.abc import Callable

STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
EMPTY = "application/vnd.oci.empty.v1+json"
TITLE = "org.opencontainers.image.title"
PREDICATE = "dev.sigstore.bundle.predicateType"
CONTENT = "dev.sigstore.bundle.content"
# Larger ones are compressed, which not every reader of bundles can undo.
LARGEST_PLAIN = 1 << 20


def subject(repository: Repository, which: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The descriptor of an image; digests of its config and of its layers before compression.

    The layers of an index are those of its first image.
    """
    found = repository.manifest(which, f"{MANIFESTS}, {INDEXES}")
    if found.status != 200:
        message = f"{repository.address.host} has no {which}"
        raise RegistryError(message)
    kind = found.headers.get("content-type", MANIFEST)
    described = {"mediaType": kind, "digest": which, "size": len(found.body)}
    document = json.loads(found.body)
    if "manifests" in document:
        document = json.loads(repository.manifest(document["manifests"][0]["digest"]).body)
    name = document["config"]["digest"]
    layers = json.loads(repository.blob(name))["rootfs"]["diff_ids"]
    return described, {"config": name, **{f"layer {at}": of for at, of in enumerate(layers, 1)}}


def statements(
    request: dict[str, Any], address: Address, image: dict[str, Any], parts: dict[str, str]
) -> list[tuple[str, bytes]]:
    """In-toto statements about an image, by the type of the predicate; provenance is the last.

    Its byproducts are `parts`, and all else that is attached: what is removed later is missed.
    """
    named = {"name": f"{address.repository}:{address.tag}", "digest": _digests(image["digest"])}
    made: list[tuple[str, bytes]] = []
    products = dict(parts)
    for each in request["documents"]:
        products[f"document {each['title']}"] = digest(each["text"].encode())
    for each in sorted(request["statements"], key=lambda one: one["predicateType"] == PROVENANCE):
        predicate = each["predicate"]
        if each["predicateType"] == PROVENANCE:
            found = [{"name": name, "digest": _digests(of)} for name, of in products.items()]
            predicate = {
                **predicate,
                "runDetails": {**predicate["runDetails"], "byproducts": found},
            }
        document = {
            "_type": STATEMENT,
            "subject": [named],
            "predicateType": each["predicateType"],
            "predicate": predicate,
        }
        payload = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        products[f"statement {each['predicateType']}"] = digest(payload)
        made.append((each["predicateType"], payload))
    return made


def _digests(text: str) -> dict[str, str]:
    kind, _, value = text.partition(":")
    return {kind: value}


def attach(
    repository: Repository,
    image: dict[str, Any],
    kind: str,
    data: bytes,
    annotations: dict[str, str],
) -> dict[str, Any]:
    """Attach bytes of a media type to an image; what was attached."""
    media_type = kind
    if len(data) > LARGEST_PLAIN:
        data, media_type = gzip.compress(data, mtime=0), f"{kind}+gzip"
    repository.push_blob(data)
    repository.push_blob(b"{}")
    which = repository.attach(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": {"mediaType": EMPTY, "digest": digest(b"{}"), "size": 2, "data": "e30="},
            "layers": [{"mediaType": media_type, "digest": digest(data), "size": len(data)}],
            "subject": image,
            "annotations": annotations,
        }
    )
    return {"digest": which, "artifactType": kind, "bytes": len(data), **annotations}


def run(
    address: str,
    which: str,
    request: dict[str, Any],
    secrets: pathlib.Path,
    services: keyless.Services,
) -> list[dict[str, Any]]:
    """Attach everything; what was attached."""
    place = parse_address(address)
    login = secrets / "login"
    text = login.read_text() if login.exists() else ""
    repository = Repository(place, parse_login(text, place.host))
    with tempfile.TemporaryDirectory() as scratch:
        signer = _signer(secrets, services, pathlib.Path(scratch) / "key.pem")
        return attach_all(repository, which, request, signer)


def attach_all(
    repository: Repository,
    which: str,
    request: dict[str, Any],
    signer: Callable[[bytes], dict[str, Any]] | None,
) -> list[dict[str, Any]]:
    """Attach the documents, then the statements, provenance last; what was attached."""
    image, parts = subject(repository, which)
    made = []
    for each in request["documents"]:
        title = {TITLE: each["title"]}
        data = each["text"].encode()
        made.append(attach(repository, image, each["artifactType"], data, title))
    for predicate, payload in statements(request, repository.address, image, parts):
        kind, data = signing.PAYLOAD, payload
        annotations = {"in-toto.io/predicate-type": predicate}
        if signer is not None:
            kind = signing.BUNDLE
            data = json.dumps(signer(payload), separators=(",", ":")).encode()
            annotations = {CONTENT: "dsse-envelope", PREDICATE: predicate}
        made.append(attach(repository, image, kind, data, annotations))
    return made


def _signer(
    secrets: pathlib.Path, services: keyless.Services, made: pathlib.Path
) -> Callable[[bytes], dict[str, Any]] | None:
    """What makes a bundle of a payload; None where nothing is signed. `made` is for a new key."""
    key, token = secrets / "key", secrets / "token"
    if key.exists():
        return partial(signing.bundle, key=signing.open_key(key))
    if token.exists():
        return keyless.Signer(token.read_text().strip(), services, made).bundle
    return None


if __name__ == "__main__":
    ADDRESS, DIGEST, REQUEST, SECRETS, *URLS = sys.argv[1:]
    try:
        content = json.loads(pathlib.Path(REQUEST).read_text())
        made = run(ADDRESS, DIGEST, content, pathlib.Path(SECRETS), keyless.Services(*URLS))
    except (RegistryError, keyless.ServiceError, signing.KeyFileError) as exc:
        sys.exit(f"{ADDRESS} was pushed, but not everything was attached to it: {exc}")
    for one in made:
        print(json.dumps(one))
