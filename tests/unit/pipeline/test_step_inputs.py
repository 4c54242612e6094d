"""What steps depend on, as short as the attributes of spans have to be."""

from __future__ import annotations

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


def test_an_image_depends_on_its_settings_its_layers_and_its_source() -> None:
    found = {"probed": {"probe owners": DIGEST}, "image": {"user": "app", "ports": [80]}}
    inputs = step_inputs.of_image(found, [layer()], {"src/a.py": DIGEST})
    assert inputs["source"] == ["src/a.py sha256:0123456789ab"]
    assert [each.split()[0] for each in inputs["settings"]] == ["user", "ports"]
    assert [each.split()[0] for each in inputs["layers"]] == ["web"]
    assert inputs["probe owners"] == "sha256:0123456789ab"
