"""What an image consists of, as a CycloneDX document.

Versions and licences are those of the installed packages, dependencies and hashes those of the
lock. Invariant: equal images have equal documents, down to the serial number.
"""

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from layerline.pipeline.lock import Pin
from layerline.pipeline.requirement import normal

SPECIFICATION = "1.6"
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
Component = dict[str, Any]


def document(
    image: str, target: str, installed: Mapping[str, Any], pins: Mapping[str, Pin]
) -> dict[str, Any]:
    """The document of an image. `installed` is what `programs/metadata.py` says in it."""
    python = {normal(each["name"]): each for each in installed["python"]}
    references = {name: _purl(name, each["version"]) for name, each in python.items()}
    components = [_package(name, each, pins.get(name)) for name, each in sorted(python.items())]
    components += [_debian(*each) for each in sorted(installed["debian"])]
    whole = {"type": "container", "name": image, "bom-ref": f"image:{image}"}
    body: dict[str, Any] = {
        "metadata": {
            "component": whole,
            "properties": [{"name": "layerline:target", "value": target}],
        },
        "components": components,
        "dependencies": [
            {"ref": whole["bom-ref"], "dependsOn": [each["bom-ref"] for each in components]},
            *_dependencies(references, pins),
        ],
    }
    serial = uuid.uuid5(uuid.NAMESPACE_OID, repr(body))
    return {
        "$schema": _SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        **body,
    }


def _package(name: str, found: Mapping[str, Any], pin: Pin | None) -> Component:
    """A distribution. The lock has a hash for each file of a release; one alone is the file's."""
    purl = _purl(name, found["version"])
    made: Component = {
        "type": "library",
        "name": name,
        "version": found["version"],
        "purl": purl,
        "bom-ref": purl,
    }
    if found["summary"]:
        made["description"] = found["summary"]
    licence = found["license"]
    if "expression" in licence:
        made["licenses"] = [{"expression": licence["expression"]}]
    elif licence:
        made["licenses"] = [{"license": {"name": licence["name"]}}]
    hashes = _HASH.findall("\n".join(pin.lines)) if pin is not None else []
    if len(hashes) == 1:
        made["hashes"] = [{"alg": "SHA-256", "content": hashes[0]}]
    return made


def _debian(name: str, version: str, architecture: str) -> Component:
    purl = f"pkg:deb/debian/{name.replace('+', '%2B')}@{_escaped(version)}?arch={architecture}"
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def _dependencies(
    references: Mapping[str, str], pins: Mapping[str, Pin]
) -> Iterator[dict[str, str | Sequence[str]]]:
    """Who asks for whom among what is installed."""
    for name, reference in sorted(references.items()):
        asked = sorted(
            references[pin.name]
            for pin in pins.values()
            if name in pin.wanted_by and pin.name in references
        )
        yield {"ref": reference, "dependsOn": asked}


def _purl(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{_escaped(version)}"


def _escaped(version: str) -> str:
    return version.replace("+", "%2B").replace(":", "%3A")
