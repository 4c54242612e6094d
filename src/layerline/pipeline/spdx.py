"""Lists the contents of an image as an SPDX 2.3 document.

What the CycloneDX document lists, with licences of the distribution's packages and the bills of
materials that wheels carry (PEP 770) and what these list. Invariant: equal images have equal
documents.

https://spdx.github.io/spdx-spec/v2.3/
"""

import hashlib
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from layerline.pipeline.sbom import Component

VERSION = "SPDX-2.3"
NONE = "NOASSERTION"
_DOCUMENT, _IMAGE = "SPDXRef-DOCUMENT", "SPDXRef-Image"
_SPACES = "https://spdx.org/spdxdocs"
_CREATED = "1980-01-01T00:00:00Z"  # as the files of images
_SIMPLE = re.compile(r"[A-Za-z0-9.-]+")
_GNU = re.compile(r"^(A?GPL|LGPL|GFDL)-(\d+(?:\.\d+)?)(\+?)$")
# Names of Debian's format that SPDX spells otherwise, and those that are the same.
_SPELT = {
    "Expat": "MIT",
    "MIT": "MIT",
    "Apache-2.0": "Apache-2.0",
    "BSD-2-clause": "BSD-2-Clause",
    "BSD-3-clause": "BSD-3-Clause",
    "ISC": "ISC",
    "Zlib": "Zlib",
    "CC0-1.0": "CC0-1.0",
    "MPL-2.0": "MPL-2.0",
    "Artistic": "Artistic-1.0-Perl",
}
_GNU_VERSIONS = {
    "GPL": ("1.0", "2.0", "3.0"),
    "LGPL": ("2.0", "2.1", "3.0"),
    "AGPL": ("1.0", "3.0"),
    "GFDL": ("1.1", "1.2", "1.3"),
}


@dataclass(slots=True, kw_only=True)
class _Licences:
    """Expressions for licences; `others` are those without an identifier, by their reference."""

    others: dict[str, str] = field(default_factory=dict)

    def of(self, component: Component, names: Sequence[str]) -> str:
        """The expression of a component, whose licences the distribution names."""
        if names:
            found = sorted({self._debian(name) for name in names})
            return " AND ".join(found)
        for each in component.get("licenses", ()):
            if "expression" in each:
                return str(each["expression"])
            return self._other(str(each["license"]["name"]))
        return NONE

    def _debian(self, name: str) -> str:
        gnu = _GNU.match(name)
        if gnu is not None:
            version = gnu[2] if "." in gnu[2] else f"{gnu[2]}.0"
            if version in _GNU_VERSIONS[gnu[1]]:
                return f"{gnu[1]}-{version}-{'or-later' if gnu[3] else 'only'}"
        return _SPELT.get(name) or self._other(name)

    def _other(self, name: str) -> str:
        reference = f"LicenseRef-{_identifier(name)}"
        self.others[reference] = name
        return reference


def document(
    image: str, version: str, bill: Mapping[str, Any], found: Mapping[str, Any]
) -> dict[str, Any]:
    """The document of an image, given its CycloneDX document and what `licences.py` printed."""
    licences = _Licences()
    packages, relations, files = [], [_relation(_DOCUMENT, "DESCRIBES", _IMAGE)], []
    references = {}
    for each in bill["components"]:
        name = f"SPDXRef-{_identifier(each['bom-ref'])}"
        references[each["bom-ref"]] = name
        debian = each["purl"].startswith("pkg:deb/")
        named = found["licences"].get(each["name"], ()) if debian else ()
        packages.append(_package(name, each, licences.of(each, named)))
        relations.append(_relation(_IMAGE, "CONTAINS", name))
        carried = () if debian else _carried(each["name"], found["documents"])
        for one in carried:
            files.append(_file(one))
            relations.append(_relation(files[-1]["SPDXID"], "METAFILE_OF", name))
            for inner in one["components"]:
                inside = f"SPDXRef-{_identifier(name + inner['purl'])}"
                if inside not in references.values():
                    references[name + inner["purl"]] = inside
                    packages.append(_package(inside, inner, NONE))
                    relations.append(_relation(name, "CONTAINS", inside))
    relations += _depending(bill["dependencies"], references)
    body = {
        "packages": [_image(image), *packages],
        "files": files,
        "relationships": relations,
        "hasExtractedLicensingInfos": [
            {"licenseId": reference, "extractedText": name, "name": name}
            for reference, name in sorted(licences.others.items())
        ],
    }
    return {
        "spdxVersion": VERSION,
        "dataLicense": "CC0-1.0",
        "SPDXID": _DOCUMENT,
        "name": image,
        "documentNamespace": f"{_SPACES}/{image}-{uuid.uuid5(uuid.NAMESPACE_OID, repr(body))}",
        "creationInfo": {"created": _CREATED, "creators": [f"Tool: layerline-{version}"]},
        **body,
    }


def _image(name: str) -> dict[str, Any]:
    return {
        "SPDXID": _IMAGE,
        "name": name,
        "downloadLocation": NONE,
        "filesAnalyzed": False,
        "primaryPackagePurpose": "CONTAINER",
    }


def _package(identifier: str, component: Mapping[str, Any], licence: str) -> dict[str, Any]:
    package = {
        "SPDXID": identifier,
        "name": component["name"],
        "versionInfo": component["version"],
        "downloadLocation": NONE,
        "filesAnalyzed": False,
        "licenseDeclared": licence,
        "licenseConcluded": NONE,
        "copyrightText": NONE,
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": component["purl"],
            }
        ],
    }
    if "hashes" in component:
        package["checksums"] = [
            {"algorithm": "SHA256", "checksumValue": each["content"]}
            for each in component["hashes"]
        ]
    if "description" in component:
        package["summary"] = component["description"]
    return package


def _carried(name: str, documents: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The bills of materials of a distribution, whose name may be spelt otherwise (PEP 503)."""
    return [
        one
        for spelt, each in documents.items()
        if re.sub(r"[-_.]+", "-", spelt).lower() == name
        for one in each
    ]


def _file(carried: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "SPDXID": f"SPDXRef-{_identifier(carried['name'])}",
        "fileName": f"./{carried['name']}",
        "fileTypes": ["DOCUMENTATION"],
        "checksums": [
            {"algorithm": "SHA1", "checksumValue": carried["sha1"]},
            {"algorithm": "SHA256", "checksumValue": carried["sha256"]},
        ],
        "licenseConcluded": NONE,
        "copyrightText": NONE,
    }


def _depending(
    edges: Sequence[Mapping[str, Any]], references: Mapping[str, str]
) -> Iterator[dict[str, str]]:
    for edge in edges:
        if edge["ref"] in references:
            for other in edge["dependsOn"]:
                yield _relation(references[edge["ref"]], "DEPENDS_ON", references[other])


def _relation(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}


def _identifier(text: str) -> str:
    """A text as a part of an identifier, which has letters, digits, dots and hyphens alone."""
    if _SIMPLE.fullmatch(text):
        return text
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-")
    return f"{plain[:60]}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
