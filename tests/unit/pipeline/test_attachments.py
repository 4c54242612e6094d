"""What is handed to the program that attaches, and the tools that it needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layerline import command
from layerline.pipeline import provenance
from layerline.pipeline.attachments import TOOLS, Attachments
from layerline.pipeline.environment import program
from tests.published import BASE, LABEL, LOCK, build_of

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def test_provenance_has_what_slsa_requires() -> None:
    """https://slsa.dev/spec/v1.0/provenance#fields."""
    made = provenance.predicate(build_of())
    definition, details = made["buildDefinition"], made["runDetails"]
    assert definition["buildType"].startswith("urn:")
    assert definition["externalParameters"]["image"] == "small"
    assert details["builder"]["id"] == "urn:layerline:builder:local"
    assert details["metadata"]["finishedOn"] == "2026-11-30T10:01:00Z"
    base, lock = definition["resolvedDependencies"][:2]
    assert base == {
        "name": "base",
        "uri": "oci://" + BASE.partition("@")[0],
        "digest": {"sha256": "b" * 64},
    }
    assert lock["uri"] == "locks/cpu.txt"


def test_the_base_that_layers_were_made_on_is_named_where_a_newer_one_is_below_them() -> None:
    def bases(**changes: str) -> list[str]:
        made = provenance.predicate(build_of(**changes))["buildDefinition"]["resolvedDependencies"]
        return [f"{each['name']} {each['uri']}" for each in made if "base" in each["name"]]

    name = BASE.partition("@")[0]
    assert bases(base_of_layers=BASE) == bases() == [f"base oci://{name}"]
    earlier = BASE.replace("b" * 64, "d" * 64)
    assert bases(base_of_layers=earlier) == [
        f"base oci://{name}",
        f"base of the layers oci://{name}",
    ]


def test_the_commit_is_a_dependency_where_it_is_known() -> None:
    unknown = provenance.predicate(build_of())["buildDefinition"]["resolvedDependencies"]
    assert "source" not in [each["name"] for each in unknown]
    origin = provenance.Origin(commit="1" * 40, repository="https://example.com/app")
    made = provenance.predicate(build_of(origin=origin))
    [source] = [
        each for each in made["buildDefinition"]["resolvedDependencies"] if each["name"] == "source"
    ]
    assert source["uri"] == f"git+https://example.com/app@{'1' * 40}"
    assert source["digest"] == {"gitCommit": "1" * 40}


def test_results_of_probes_name_each_that_passed_and_the_label() -> None:
    made = provenance.tests(LABEL, "small", LOCK)
    assert made["result"] == "PASSED"
    assert made["passedTests"] == ["core: imports", "image small: owners"]
    assert made["evidence"] == json.loads(LABEL)
    assert [each["name"] for each in made["configuration"]] == [
        "lock of small",
        "layerline.evidence",
    ]


def test_a_request_has_statements_and_documents() -> None:
    made = Attachments(statements=[("type", {"a": 1})], documents=[("kind", "name", "text")])
    assert json.loads(made.request()) == {
        "statements": [{"predicateType": "type", "predicate": {"a": 1}}],
        "documents": [{"artifactType": "kind", "title": "name", "text": "text"}],
    }


@pytest.mark.parametrize(("offline", "has_openssl"), [("", True), ("1", False)])
def test_tools_are_installed_only_where_the_base_lacks_them(
    tmp_path: Path, offline: str, *, has_openssl: bool
) -> None:
    """With apt-get and openssl that say that they were asked."""
    if has_openssl and not CERTIFICATES.exists():
        pytest.skip(f"{CERTIFICATES} is missing")
    for name in ("apt-get", *(["openssl"] if has_openssl else [])):
        path = tmp_path / name
        path.write_text("#!/bin/sh\necho asked >&2\nexit 1\n")
        path.chmod(0o755)
    done = command.run(
        ["/bin/sh", "-s", "--", *TOOLS],
        env={"PATH": str(tmp_path), "OFFLINE": offline},
        stdin=program("signing_tools.sh").encode(),
        expect=None,
    )
    said = done.stderr.decode()
    assert "asked" not in said
    assert done.status == (0 if has_openssl else 1)
    assert has_openssl or "add them to base.packages" in said
