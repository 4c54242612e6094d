"""What steps depend on, as short as the attributes of spans have to be."""

from __future__ import annotations

from dataclasses import replace

from layerline.pipeline import step_inputs
from layerline.pipeline.layer import Layer
from layerline.pipeline.lock import Pin

DIGEST = "sha256:" + "0123456789abcdef" * 4


def layer(hashes: str = "aa") -> Layer:
    return Layer(
        name="web",
        groups=("web",),
        pins=(
            Pin(
                name="fastapi",
                version="1.0",
                lines=(f"fastapi==1.0 --hash=sha256:{hashes}",),
                required_by=frozenset(),
            ),
        ),
        imported=("fastapi",),
        needs=frozenset(),
    )


def test_digests_are_cut_and_lists_are_kept() -> None:
    base = {"base": f"debian:12@{DIGEST}", "installer": f"uv==1 {DIGEST}", "packages": ["tini"]}
    assert step_inputs.of_base(base) == {
        "base": "debian:12@sha256:0123456789ab",
        "installer": "uv==1 sha256:0123456789ab",
        "packages": ["tini"],
    }


def test_a_pin_is_its_version_and_its_hashes() -> None:
    one, other = (step_inputs.of_install(each, {})["pins"][0] for each in (layer(), layer("bb")))
    assert one.startswith("fastapi 1.0 sha256:")
    assert other.startswith("fastapi 1.0 sha256:")
    assert one != other


def test_what_is_built_depends_on_the_packages_and_the_steps_that_build_it() -> None:
    tools = {"base.build_packages": ["g++"], "Layerline's build steps": DIGEST}
    built = replace(layer(), from_source=("fastapi",), builders={"fastapi": layer().pins})
    assert step_inputs.of_install(layer(), {}, tools).keys() == {"pins"}
    found = step_inputs.of_install(built, {}, tools)
    assert found["base.build_packages"] == ["g++"]
    assert found["Layerline's build steps"] == "sha256:0123456789ab"
    wheel = step_inputs.of_project({}, tools, layer().pins, {"pyproject.toml": DIGEST})
    assert wheel["source"] == ["pyproject.toml sha256:0123456789ab"]
    assert wheel.keys() == found.keys() - {"pins"} | {"source"}


def test_bytecode_depends_on_the_base_and_the_program_that_compiles() -> None:
    assert step_inputs.of_compile({"base": f"debian:12@{DIGEST}"}, DIGEST) == {
        "base": "debian:12@sha256:0123456789ab",
        "bytecode": "sha256:0123456789ab",
    }


def test_an_image_depends_on_its_settings_its_layers_its_projects_and_its_source() -> None:
    found = {"probed": {"probe owners": DIGEST}, "image": {"user": "app", "ports": [80]}}
    found["projects"] = {"lib": DIGEST}
    inputs = step_inputs.of_image(found, [layer()], {"src/a.py": DIGEST})
    assert inputs["projects"] == ["lib sha256:0123456789ab"]
    assert inputs["source"] == ["src/a.py sha256:0123456789ab"]
    assert [each.split()[0] for each in inputs["settings"]] == ["user", "ports"]
    assert [each.split()[0] for each in inputs["layers"]] == ["web"]
    assert inputs["probe owners"] == "sha256:0123456789ab"
