"""The bill of materials, held against the published schema of its own format."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from layerline import command
from layerline.pipeline import sbom
from layerline.pipeline.environment import program
from layerline.pipeline.lock import parse

ONE, TWO = "a" * 64, "b" * 64
LOCK = f"""\
numpy==2.4.6 \\
    --hash=sha256:{ONE} \\
    --hash=sha256:{TWO}
    # via torch
torch==2.14.1+cpu \\
    --hash=sha256:{ONE}
"""
INSTALLED: dict[str, Any] = {
    "python": [
        {
            "name": "Torch",
            "version": "2.14.1+cpu",
            "summary": "Tensors",
            "license": {"name": "BSD License"},
        },
        {
            "name": "numpy",
            "version": "2.4.6",
            "summary": "",
            "license": {"expression": "BSD-3-Clause"},
        },
        {"name": "pip", "version": "1", "summary": "", "license": {}},
    ],
    "bytecode": {"files": 2, "bytes": 900},
    "debian": [["libstdc++6", "12.2.0-14", "amd64"], ["openssl", "1:3.0", "amd64"]],
}


def sbom_of(installed: dict[str, Any] = INSTALLED) -> dict[str, Any]:
    return sbom.document("train", "cpu", installed, parse(LOCK))


def schema_error(document: dict[str, Any]) -> object:
    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document))


def test_the_schema_of_the_format_holds() -> None:
    assert schema_error(sbom_of()) is None


def test_the_bytecode_of_an_image_is_said_where_it_has_some() -> None:
    def properties(**found: int) -> list[dict[str, str]]:
        made = sbom_of({**INSTALLED, "bytecode": found})["metadata"]["properties"]
        return [each for each in made if each["name"] == "layerline:bytecode"]

    assert [each["value"] for each in properties(files=2, bytes=900)] == ["2 files, 900 bytes"]
    assert properties(files=0, bytes=0) == []


@pytest.mark.parametrize("change", [{"bomFormat": "other"}, {"components": [{"name": "x"}]}])
def test_the_schema_refuses_what_is_none(change: dict[str, Any]) -> None:
    assert schema_error({**sbom_of(), **change}) is not None


def test_a_package_has_its_version_licence_and_the_hash_of_its_only_file() -> None:
    parts = {each["name"]: each for each in sbom_of()["components"]}
    assert parts["torch"]["purl"] == "pkg:pypi/torch@2.14.1%2Bcpu"
    assert parts["torch"]["hashes"] == [{"alg": "SHA-256", "content": ONE}]
    assert parts["torch"]["licenses"] == [{"license": {"name": "BSD License"}}]
    assert "hashes" not in parts["numpy"]
    assert parts["numpy"]["licenses"] == [{"expression": "BSD-3-Clause"}]
    assert parts["libstdc++6"]["purl"] == "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=amd64"


def test_dependencies_are_those_of_the_lock() -> None:
    edges = {each["ref"]: each["dependsOn"] for each in sbom_of()["dependencies"]}
    assert edges["pkg:pypi/torch@2.14.1%2Bcpu"] == ["pkg:pypi/numpy@2.4.6"]
    assert len(edges["image:train"]) == 5


def test_equal_images_have_equal_documents_and_others_have_not() -> None:
    turned = {**INSTALLED, "python": INSTALLED["python"][::-1]}
    assert sbom_of(turned) == sbom_of()
    fewer = {**INSTALLED, "debian": []}
    assert sbom_of(fewer)["serialNumber"] != sbom_of()["serialNumber"]


def test_what_is_installed_here_makes_a_document_of_the_schema() -> None:
    argv = [sys.executable, "-c", program("metadata.py")]
    installed = json.loads(command.run(argv).stdout)
    document = sbom.document("here", "cpu", installed, {})
    names = [each["name"] for each in document["components"]]
    assert {"pytest", "dpkg"} <= set(names)
    assert schema_error(document) is None
