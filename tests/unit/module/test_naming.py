"""Names are spelled as Dagger's command line and schema spell them."""

from __future__ import annotations

import dagger
import pytest
from graphql import GraphQLObjectType

from layerline.engine.api.schema import served_schema
from layerline.engine.module.naming import (
    kebab,
    lower_camel,
    package_name,
    pascal,
    python_name,
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


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        (("post", "Postman"), "PostPostman"),
        (("post", "PostMan"), "PostMan"),
        (("base", "TextBase", "text-base"), "Base"),
        (("base", "Word", "text-base"), "BaseWord"),
        (("base", "TextBaseCase", "text-base"), "BaseCase"),
    ],
)
def test_a_type_of_a_dependency_carries_its_callers_name_for_it(
    name: tuple[str, ...], spelled: str
) -> None:
    """After namespaceObject in core/gqlformat.go of Dagger v0.21.8."""
    assert type_name(*name) == spelled


def test_python_names_are_those_of_the_sdks_own_client() -> None:
    root = served_schema().query_type
    container = served_schema().type_map["Container"]
    assert root is not None
    assert isinstance(container, GraphQLObjectType)
    for fields, client in ((root.fields, dagger.Client), (container.fields, dagger.Container)):
        assert [name for name in fields if not hasattr(client, python_name(name))] == []
    assert python_name("import") == "import_"
    assert python_name("list") == "list_"


def test_the_package_of_a_project() -> None:
    assert package_name("My.Project-name") == "my_project_name"
