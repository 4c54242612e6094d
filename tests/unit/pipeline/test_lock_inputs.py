"""A lock that does not fit the definition: what uv's `--locked` refuses is refused before a build.

uv compares the requirements of `pyproject.toml` with those that the lock records (`Lock::satisfies`
in uv's `crates/uv-resolver/src/lock/mod.rs`), so a changed specifier is refused although the pinned
version fits it. Markers are those of PEP 508.
"""

from __future__ import annotations

import re

import pytest

from layerline.pipeline.definition import parse_definition
from layerline.pipeline.lock import LockError
from layerline.pipeline.lock_inputs import LockInputs, check, platform_of
from layerline.pipeline.partition import partition
from layerline.pipeline.platform import Platform

TOML = """\
[targets.cpu]
[groups.core]
requirements = ["psutil>=7", "Torch", "jax[cuda13]", "colorama; sys_platform == 'win32'"]
without = ["opencv-python"]
[images.small]
target = "cpu"
groups = ["core"]
"""
PINS = "".join(f"{name} \\\n    --hash=sha256:aa\n" for name in ("jax==0.10", "psutil==7.0.0"))
PINS += "torch==2.13.0+cpu \\\n    --hash=sha256:aa\nuv==1 \\\n    --hash=sha256:aa\n"
DEFINITION = parse_definition(TOML)
HERE = Platform(python="3.11.2", machine="x86_64")
LOCK = LockInputs.of(DEFINITION, "cpu", HERE).header() + PINS
COMMAND = "layerline call lock --target=cpu export --path=locks/cpu.txt"


def refusal(text: str, toml: str = TOML) -> str:
    with pytest.raises(LockError) as caught:
        partition(text, parse_definition(toml), "cpu")
    return str(caught.value)


def test_the_record_is_read_back_and_fits() -> None:
    check(LOCK, DEFINITION, "cpu")
    assert LockInputs.read(LOCK) == LockInputs.of(DEFINITION, "cpu", HERE)
    assert platform_of(LOCK) == HERE
    assert LockInputs.read(PINS) is None


@pytest.mark.parametrize("text", [LOCK, PINS])
@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("psutil>=7", "psutil>=7.1.0", "core requires psutil>=7.1.0; the lock has psutil==7.0.0"),
        ('"Torch"', '"torch==2.99"', "core requires torch==2.99; the lock has torch==2.13.0+cpu"),
        ('"Torch"', '"torch", "scipy"', "core requires scipy; the lock has no entry for scipy"),
    ],
)
def test_a_pin_that_does_not_fit_is_refused(text: str, before: str, after: str, said: str) -> None:
    message = refusal(text, TOML.replace(before, after))
    assert said in message
    assert f"locks/cpu.txt is out of date with layerline.toml: regenerate it with '{COMMAND}'" in (
        message
    )


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("psutil>=7", "psutil", "psutil, which the lock was not resolved for"),
        (
            "jax[cuda13]",
            "jax",
            r"jax, which the lock [^$]*no group requires jax\[cuda13\] any more",
        ),
        ('"Torch", ', "", "no group requires torch any more"),
        ("opencv-python", "pandas", "pandas is left out now\n  opencv-python is not left out any"),
    ],
)
def test_what_was_not_resolved_is_refused_though_the_pins_fit(
    before: str, after: str, said: str
) -> None:
    assert re.search(said, refusal(LOCK, TOML.replace(before, after)))


def test_the_spelling_of_a_name_and_the_group_do_not_matter() -> None:
    toml = TOML.replace('"Torch", ', "").replace(
        "[images", '[groups.two]\nrequirements = ["torch"]\n[images'
    )
    check(LOCK, parse_definition(toml.replace('["core"]', '["core", "two"]')), "cpu")


def test_a_lock_that_is_missing_is_named_with_the_command() -> None:
    assert refusal("") == f"locks/cpu.txt does not exist: write it with '{COMMAND}'"


@pytest.mark.parametrize(
    ("requirement", "platform", "wanted"),
    [
        ("colorama; sys_platform == 'win32'", HERE, False),
        ("uvloop; sys_platform != 'win32' and implementation_name == 'cpython'", HERE, True),
        ("tomli; python_version < '3.11'", HERE, False),
        ("tomli; python_version < '3.11'", Platform(python="3.10.12"), True),
        ("scipy; python_full_version >= '3.11.3'", HERE, False),
        ("mlx; platform_machine == 'arm64'", HERE, False),
        ("numpy", HERE, True),
    ],
)
def test_markers_decide_what_is_wanted(
    requirement: str, platform: Platform, *, wanted: bool
) -> None:
    assert platform.wants(requirement) is wanted


def test_a_requirement_whose_marker_is_false_is_in_no_layer_and_needs_no_pin() -> None:
    made = partition(LOCK, DEFINITION, "cpu").layers["core"]
    assert [pin.name for pin in made.pins] == ["jax", "psutil", "torch"]
