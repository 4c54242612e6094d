"""Names are spelled as Dagger's command line and schema spell them."""

from __future__ import annotations

import pytest

from layerline.engine.module.naming import (
    kebab,
    lower_camel,
    package_name,
    pascal,
    type_name,
)


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("withNewFile", "with-new-file"),
        ("with_name", "with-name"),
        ("asJSON", "as-json"),
        ("experimentalWithAllGPUs", "experimental-with-all-gp-us"),
        ("JSONValue", "json-value"),
        ("sha256", "sha-256"),
        ("buildTrainCu13", "build-train-cu-13"),
        ("x", "x"),
    ],
)
def test_kebab(name: str, spelled: str) -> None:
    assert kebab(name) == spelled


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("with_new_file", "withNewFile"),
        ("build_train_cu13", "buildTrainCu13"),
        ("HTTPServer", "httpserver"),
        ("a-b.c d", "aBCD"),
        ("v2_model", "v2Model"),
    ],
)
def test_lower_camel(name: str, spelled: str) -> None:
    assert lower_camel(name) == spelled


def test_pascal() -> None:
    assert pascal("my-mod") == "MyMod"
    assert pascal("layerline") == "Layerline"


def test_a_type_carries_its_modules_name_once() -> None:
    assert type_name("sample", "Report") == "SampleReport"
    assert type_name("sample", "SampleReport") == "SampleReport"
    assert type_name("my-mod", "MyMod") == "MyMod"


def test_the_package_of_a_project() -> None:
    assert package_name("My.Project-name") == "my_project_name"
