"""The partition: each package in one layer, whatever the order, and no more layers than are due."""

from __future__ import annotations

import graphlib
from pathlib import Path

import pytest

from layerline.pipeline import lock
from layerline.pipeline.definition import Definition, parse_definition
from layerline.pipeline.lock import LockError
from layerline.pipeline.lock_inputs import LockInputs
from layerline.pipeline.partition import partition
from layerline.pipeline.platform import Platform

HOME = Path(__file__).parents[3]
OURS = parse_definition((HOME / "layerline.toml").read_text())
TOML = """\
[targets.cu13]
[groups.core]
requirements = ["numpy"]
[groups.jax]
requirements = ["jax"]
[groups.pytorch]
requirements = ["torch"]
[groups.train]
requirements = ["lightning"]
[groups.cudnn]
claims = ["nvidia-cudnn-*"]
[groups.cuda]
claims = ["nvidia-*"]
[images.dev]
target = "cu13"
groups = ["core", "jax", "pytorch", "train"]
[images.small]
target = "cu13"
groups = ["core", "jax"]
"""
WANTED_BY = {
    "fsspec": "lightning, torch",
    "jax": "",
    "lightning": "",
    "numpy": "jax, lightning",
    "nvidia-cublas": "jax, torch",
    "nvidia-cudnn-cu13": "jax, torch",
    "opt-einsum": "jax",
    "sympy": "torch",
    "torch": "lightning",
    "typing-extensions": "lightning, jax",
    "uv": "",
}


def lock_text(versions: dict[str, str] | None = None) -> str:
    lines = []
    for name, via in WANTED_BY.items():
        lines += [f"{name}=={(versions or {}).get(name, '1')} \\", "    --hash=sha256:aa"]
        lines += [f"    # via {via}"] if via else []
    return "\n".join(lines) + "\n"


def layers(toml: str = TOML, text: str | None = None) -> dict[str, str]:
    made = partition(text or lock_text(), parse_definition(toml), "cu13").layers
    return {name: " ".join(pin.name for pin in layer.pins) for name, layer in made.items()}


def test_each_package_is_in_the_layer_that_is_due() -> None:
    assert layers() == {
        "core": "numpy",
        "cuda": "nvidia-cublas",
        "cudnn": "nvidia-cudnn-cu13",
        "jax": "jax opt-einsum",
        "pytorch": "sympy torch",
        "shared": "typing-extensions",
        "shared+dev": "fsspec",
        "train": "lightning",
    }


def test_the_order_of_groups_and_images_does_not_matter() -> None:
    blocks = TOML.removeprefix("[targets.cu13]\n").split("[groups.")[1:]
    turned = "[targets.cu13]\n" + "".join(
        f"[groups.{block}" for block in (*blocks[-1:], *blocks[-2::-1])
    )
    assert layers(turned.replace('["core", "jax"]', '["jax", "core"]')) == layers()


def test_an_image_has_the_layers_that_its_groups_need() -> None:
    made = partition(lock_text(), parse_definition(TOML), "cu13")
    assert [layer.name for layer in made.of(["core", "jax"])] == [
        *("cuda", "cudnn", "core", "shared", "jax"),
    ]
    assert [layer.name for layer in made.with_needed(made.layers["train"])] == [
        *("cuda", "cudnn", "core", "shared", "shared+dev", "pytorch", "train"),
    ]


def test_layers_that_follow_others_or_have_a_fixed_version_are_below() -> None:
    """What is free to change lies above what it depends on; fewer packages are lower."""
    fixed = TOML.replace('["torch"]', '["torch==1.*"]')
    made = partition(lock_text(), parse_definition(fixed), "cu13")
    assert list(made.layers) == [
        *("cuda", "cudnn", "pytorch", "core", "shared", "shared+dev", "train", "jax"),
    ]


def test_layers_that_need_each_other_have_an_order() -> None:
    text = lock_text().replace("# via jax, lightning\n", "# via jax, lightning, torch\n")
    text = text.replace("# via lightning\n", "# via lightning, numpy\n")
    made = partition(text, parse_definition(TOML), "cu13")
    assert list(made.layers)[:2] == ["cuda", "cudnn"]
    assert list(made.layers).index("core") < list(made.layers).index("jax")
    assert len(made.layers) == len(layers(text=text))


def test_of_two_layers_that_need_each_other_neither_is_a_foundation() -> None:
    text = lock_text().replace("# via jax, lightning\n", "# via jax, lightning, torch\n")
    text = text.replace("# via lightning\n", "# via lightning, numpy\n")
    made = partition(text, parse_definition(TOML), "cu13")
    assert "pytorch" in made.layers["core"].needs
    assert "core" in made.layers["pytorch"].needs
    found = made.foundations(["core", "pytorch"])
    assert "core" not in found["pytorch"]
    assert "pytorch" not in found["core"]
    assert "cudnn" in found["pytorch"]


@pytest.mark.parametrize("name", sorted(OURS.images))
def test_layers_of_an_image_stand_on_others_of_it_and_in_an_order(name: str) -> None:
    image = OURS.image(name)
    made = partition((HOME / lock.path(image.target)).read_text(), OURS, image.target)
    found = made.foundations(image.groups)
    assert found.keys() == {layer.name for layer in made.of(image.groups)}
    assert set(graphlib.TopologicalSorter(found).static_order()) == found.keys()


def test_another_version_changes_one_layer() -> None:
    before = partition(lock_text(), parse_definition(TOML), "cu13").layers
    after = partition(lock_text({"jax": "2"}), parse_definition(TOML), "cu13").layers
    changed = {name for name in before if before[name].requirements != after[name].requirements}
    assert changed == {"jax"}


def test_the_installer_is_in_no_layer() -> None:
    made = partition(lock_text(), parse_definition(TOML), "cu13")
    assert made.installer.startswith("uv==1")
    assert all("uv" not in lock.parse(layer.requirements) for layer in made.layers.values())


def test_a_package_that_no_group_wants_is_named() -> None:
    with pytest.raises(LockError, match="no group requires lightning"):
        partition(lock_text(), parse_definition(TOML.replace('"lightning"', '"torch"')), "cu13")


@pytest.mark.parametrize("target", sorted(OURS.targets))
def test_the_committed_locks_fit_the_definition(target: str) -> None:
    text = (HOME / lock.path(target)).read_text()
    made = partition(text, OURS, target)
    names = [pin.name for layer in made.layers.values() for pin in layer.pins]
    assert sorted([*names, "uv"]) == sorted(lock.parse(text))
    assert "opencv-python" not in names


def test_only_the_cuda_target_has_cuda_packages() -> None:
    assert cuda_packages(OURS, "cu13")
    assert cuda_packages(OURS, "cpu") == []


def cuda_packages(definition: Definition, target: str) -> list[str]:
    made = partition((HOME / lock.path(target)).read_text(), definition, target)
    names = [pin.name for layer in made.layers.values() for pin in layer.pins]
    return [name for name in names if name.startswith(("nvidia-", "jax-cuda"))]


def test_what_builds_a_package_is_known_to_its_layer_and_in_none() -> None:
    toml = TOML.replace(
        'requirements = ["lightning"]',
        'requirements = ["lightning"]\nfrom_source = { fsspec = ["hatchling"] }',
    ).replace('groups = ["core", "jax", "pytorch", "train"]', 'groups = ["core", "jax", "train"]')
    builder = "hatchling==7 \\\n    --hash=sha256:bb\n"
    without = lock_text().replace("    # via lightning, torch", "    # via lightning")
    made = partition(without + builder, parse_definition(toml), "cu13").layers
    assert (made["train"].from_source, made["train"].build_requirements) == (("fsspec",), builder)
    assert [layer.from_source for name, layer in made.items() if name != "train"] == [()] * (
        len(made) - 1
    )
    assert "hatchling" not in {pin.name for layer in made.values() for pin in layer.pins}


def test_a_targets_own_groups_are_locked_and_in_no_image() -> None:
    toml = TOML.replace("[targets.cu13]", '[targets.cu13]\ngroups = ["tools"]')
    toml += '[groups.tools]\nrequirements = ["pytest"]\n'
    text = lock_text() + "pytest==9 \\\n    --hash=sha256:cc\n"
    parts = partition(text, parse_definition(toml), "cu13")
    assert [pin.name for pin in parts.layers["tools"].pins] == ["pytest"]
    assert "tools" not in {
        layer.name for layer in parts.of(parse_definition(toml).images["dev"].groups)
    }


def test_what_a_lock_records_to_be_built_is_built_in_its_layer() -> None:
    header = "# layerline lock, format 1\n# from source: fsspec with hatchling, setuptools\n"
    builders = "".join(
        f"{name}==7 \\\n    --hash=sha256:bb\n" for name in ("hatchling", "setuptools")
    )
    inputs = LockInputs.of(
        parse_definition(TOML), "cu13", Platform(), {"fsspec": ("hatchling", "setuptools")}
    ).header()
    assert header.splitlines()[1] in inputs
    made = partition(inputs + lock_text() + builders, parse_definition(TOML), "cu13").layers
    assert made["shared+dev"].from_source == ("fsspec",)
    assert made["shared+dev"].build_requirements == builders
    assert all("hatchling" not in layer.requirements for layer in made.values())
