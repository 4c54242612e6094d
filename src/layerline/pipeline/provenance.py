"""Statements about an image: what it was built from (SLSA), and what its probes found.

https://slsa.dev/spec/v1.0/provenance
https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md
"""

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from layerline.pipeline import changes
from layerline.pipeline.probe import EVIDENCE_LABEL, Evidence

PROVENANCE = "https://slsa.dev/provenance/v1"
TESTS = "https://in-toto.io/attestation/test-result/v0.1"
CYCLONEDX = "https://cyclonedx.org/bom"
SPDX = "https://spdx.dev/Document/v2.3"
BUILD_TYPE = "urn:layerline:image:v1"
LOCAL_BUILDER = "urn:layerline:builder:local"
Predicate = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What the caller says of the source: its repository, commit and version, and who builds."""

    repository: str = ""
    commit: str = ""
    version: str = ""
    builder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One build of an image. Bases have a digest; times are in ISO 8601.

    `base_of_layers` is that which the layers were made on, where a newer one was put under them.
    `settings` are those of the image in layerline.toml, `inputs` those of every layer.
    """

    image: str
    target: str
    base: str
    lock: str
    definition: str
    compression: str
    started: str
    finished: str
    files: Mapping[str, Mapping[str, str]]
    settings: Mapping[str, Any]
    inputs: Mapping[str, Any]
    base_of_layers: str = ""
    origin: Origin = field(default_factory=Origin)


def predicate(build: Build) -> Predicate:
    """The provenance of a build; who attaches it adds the image's layers."""
    origin = build.origin
    source = {"repository": origin.repository, "commit": origin.commit}
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "image": build.image,
                "target": build.target,
                "compression": build.compression,
                "version": origin.version,
                "source": {name: value for name, value in source.items() if value},
            },
            "internalParameters": {
                "settings": dict(build.settings),
                "inputs": dict(build.inputs),
                "commands": [
                    f"layerline call publish --image={build.image} "
                    f"--compression={build.compression}"
                ],
            },
            "resolvedDependencies": _dependencies(build),
        },
        "runDetails": {
            "builder": {
                "id": origin.builder or LOCAL_BUILDER,
                "version": {"layerline": version()},
            },
            "metadata": {"startedOn": build.started, "finishedOn": build.finished},
        },
    }


def _dependencies(build: Build) -> list[dict[str, Any]]:
    """What the image was made of, each with its digest."""
    found: list[dict[str, Any]] = [
        _base("base", build.base),
        {"name": "lock", "uri": f"locks/{build.target}.txt", "digest": _digest_of(build.lock)},
        {"name": "layerline.toml", "digest": _digest_of(build.definition)},
    ]
    if build.base_of_layers not in ("", build.base):
        found.append(_base("base of the layers", build.base_of_layers))
    for place, files in build.files.items():
        text = "".join(f"{digest} {path}\n" for path, digest in sorted(files.items()))
        found.append({"name": f"files of {place}", "digest": _digest_of(text)})
    origin = build.origin
    if origin.commit:
        address = f"git+{origin.repository}@{origin.commit}" if origin.repository else ""
        uri = {"uri": address} if address else {}
        found.append({"name": "source", **uri, "digest": {"gitCommit": origin.commit}})
    return found


def _base(name: str, reference: str) -> dict[str, Any]:
    image, _, digest = reference.partition("@")
    return {"name": name, "uri": f"oci://{image}", "digest": _digests(digest)}


def tests(label: str, image: str, lock: str) -> Predicate:
    """The probes of an image and its layers as the result of a test: all have passed.

    `label` is the evidence as the image has it in its label, of which the digest is named.
    """
    found: list[Evidence] = json.loads(label or "[]")
    names = [f"{each['subject']}: {one['probe']}" for each in found for one in each["probes"]]
    return {
        "result": "PASSED",
        "configuration": [
            {"name": f"lock of {image}", "digest": _digest_of(lock)},
            {"name": EVIDENCE_LABEL, "digest": _digest_of(label)},
        ],
        "passedTests": names,
        "warnedTests": [],
        "failedTests": [],
        "evidence": found,
    }


def version() -> str:
    """The version of Layerline that builds."""
    return str(getattr(importlib.import_module("layerline"), "__version__", "unknown"))


def _digest_of(text: str) -> dict[str, str]:
    return _digests(changes.digest(text))


def _digests(text: str) -> dict[str, str]:
    kind, _, value = text.partition(":")
    return {kind: value}
