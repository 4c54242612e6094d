"""The SPDX document: what is in it, and that it refers to nothing that it does not have."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from layerline import command
from layerline.pipeline import sbom, spdx
from layerline.pipeline.environment import program
from layerline.pipeline.lock import parse
from tests.unit.pipeline.test_sbom import INSTALLED, LOCK

FOUND: dict[str, Any] = {
    "licences": {
        "libstdc++6": ["GPL-3+ with GCC exception"],
        "openssl": ["Apache-2.0", "Expat", "GPL-2+", "LGPL-2.1"],
    },
    "documents": {
        "Torch": [
            {
                "name": "torch-2.14.1.dist-info/sboms/torch.cdx.json",
                "sha1": "a" * 40,
                "sha256": "b" * 64,
                "components": [{"name": "fmt", "version": "11", "purl": "pkg:generic/fmt@11"}],
            }
        ]
    },
}
# https://spdx.github.io/spdx-spec/v2.3/package-information/#72-package-spdx-identifier-field
IDENTIFIER = re.compile(r"SPDXRef-[A-Za-z0-9.-]+")


def document_of(found: dict[str, Any] = FOUND) -> dict[str, Any]:
    bill = sbom.document("train", "cpu", INSTALLED, parse(LOCK))
    return spdx.document("train", "1.0", bill, found)


def packages(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in document["packages"]}


def test_packages_of_the_distribution_have_their_licences() -> None:
    found = packages(document_of())
    assert found["openssl"]["licenseDeclared"] == (
        "Apache-2.0 AND GPL-2.0-or-later AND LGPL-2.1-only AND MIT"
    )
    other = found["libstdc++6"]["licenseDeclared"]
    assert other.startswith("LicenseRef-GPL-3-with-GCC-exception-")
    named = {each["licenseId"]: each for each in document_of()["hasExtractedLicensingInfos"]}
    assert named[other]["extractedText"] == "GPL-3+ with GCC exception"
    assert found["numpy"]["licenseDeclared"] == "BSD-3-Clause"
    assert found["pip"]["licenseDeclared"] == "NOASSERTION"


def test_what_a_wheel_carries_is_a_file_and_its_components_are_packages() -> None:
    document = document_of()
    [file] = document["files"]
    assert file["fileName"] == "./torch-2.14.1.dist-info/sboms/torch.cdx.json"
    assert file["checksums"][1] == {"algorithm": "SHA256", "checksumValue": "b" * 64}
    torch, fmt = (packages(document)[name]["SPDXID"] for name in ("torch", "fmt"))
    edges = [
        (each["spdxElementId"], each["relationshipType"], each["relatedSpdxElement"])
        for each in document["relationships"]
    ]
    assert {(file["SPDXID"], "METAFILE_OF", torch), (torch, "CONTAINS", fmt)} <= set(edges)


def test_identifiers_are_unique_well_formed_and_all_known() -> None:
    document = document_of()
    parts = [document, *document["packages"], *document["files"]]
    names = [each["SPDXID"] for each in parts]
    assert len(names) == len(set(names))
    assert all(IDENTIFIER.fullmatch(name) for name in names)
    for each in document["relationships"]:
        assert {each["spdxElementId"], each["relatedSpdxElement"]} <= set(names)
    assert {
        "spdxElementId": packages(document)["torch"]["SPDXID"],
        "relationshipType": "DEPENDS_ON",
        "relatedSpdxElement": packages(document)["numpy"]["SPDXID"],
    } in document["relationships"]


def test_equal_images_have_equal_documents_and_others_have_not() -> None:
    assert document_of() == document_of()
    fewer = document_of({"licences": {}, "documents": {}})
    assert fewer["documentNamespace"] != document_of()["documentNamespace"]


def test_what_is_installed_here_has_documents_and_licences() -> None:
    """Wheels of this environment carry such documents, Debian keeps its copyright files."""
    argv = [sys.executable, "-c", program("licences.py")]
    found = json.loads(command.run(argv).stdout)
    [document] = [each for each in found["documents"]["uv"] if each["name"].endswith(".json")]
    assert any(each["purl"].startswith("pkg:cargo/") for each in document["components"])
    assert "openssl" not in found["licences"] or found["licences"]["openssl"]
