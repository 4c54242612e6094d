"""Lists the contents of an image as a CycloneDX document.

Versions and licences are those of the installed packages, dependencies and hashes those of the
lock. Invariant: equal images have equal documents, down to the serial number.
"""

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from layerline.pipeline.lock import Pin
from layerline.pipeline.requirement import normalize_name

SPECIFICATION = "1.6"
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
Component = dict[str, Any]


def document(
    image: str, target: str, installed: Mapping[str, Any], pins: Mapping[str, Pin]
) -> dict[str, Any]:
    """The document of an image. `installed` is the output of `programs/metadata.py` in it."""
    python = {normalize_name(each["name"]): each for each in installed["python"]}
    references = {name: _purl(name, each["version"]) for name, each in python.items()}
    components = [_package(name, each, pins.get(name)) for name, each in sorted(python.items())]
    components += [_debian(*each) for each in sorted(installed["debian"])]
    properties = {"target": target, **_bytecode(installed["bytecode"])}
    container = {"type": "container", "name": image, "bom-ref": f"image:{image}"}
    body: dict[str, Any] = {
        "metadata": {
            "component": container,
            "properties": [
                {"name": f"layerline:{name}", "value": value} for name, value in properties.items()
            ],
        },
        "components": components,
        "dependencies": [
            {"ref": container["bom-ref"], "dependsOn": [each["bom-ref"] for each in components]},
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


def _bytecode(found: Mapping[str, int]) -> dict[str, str]:
    """What is in an image and in no package's RECORD."""
    if not found["files"]:
        return {}
    return {"bytecode": f"{found['files']} files, {found['bytes']} bytes"}


def _package(name: str, found: Mapping[str, Any], pin: Pin | None) -> Component:
    """A distribution. The lock has a hash for each file of a release; one alone is the file's."""
    purl = _purl(name, found["version"])
    component: Component = {
        "type": "library",
        "name": name,
        "version": found["version"],
        "purl": purl,
        "bom-ref": purl,
    }
    if found["summary"]:
        component["description"] = found["summary"]
    licence = found["license"]
    if "expression" in licence:
        component["licenses"] = [{"expression": licence["expression"]}]
    elif licence:
        component["licenses"] = [{"license": {"name": licence["name"]}}]
    hashes = _HASH.findall("\n".join(pin.lines)) if pin is not None else []
    if len(hashes) == 1:
        component["hashes"] = [{"alg": "SHA-256", "content": hashes[0]}]
    return component


def _debian(name: str, version: str, architecture: str) -> Component:
    purl = f"pkg:deb/debian/{name.replace('+', '%2B')}@{_escape(version)}?arch={architecture}"
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def _dependencies(
    references: Mapping[str, str], pins: Mapping[str, Pin]
) -> Iterator[dict[str, str | Sequence[str]]]:
    """Yield the dependencies of each installed distribution."""
    for name, reference in sorted(references.items()):
        depends_on = sorted(
            references[pin.name]
            for pin in pins.values()
            if name in pin.required_by and pin.name in references
        )
        yield {"ref": reference, "dependsOn": depends_on}


def _purl(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{_escape(version)}"


def _escape(version: str) -> str:
    return version.replace("+", "%2B").replace(":", "%3A")
