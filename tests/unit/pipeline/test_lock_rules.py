"""Locks whose images could not be built are not written, and the message says what to write."""

from __future__ import annotations

import pytest

from layerline.pipeline.definition import parse_definition
from layerline.pipeline.lock import LockError
from layerline.pipeline.lock_rules import check
from layerline.pipeline.partition import partition

TOML = """\
[targets.cpu]
[groups.core]
requirements = ["numpy"]
[groups.learn]
requirements = ["LEARN"]
[images.small]
target = "cpu"
groups = ["core", "learn"]
"""


def checked(learn: str, via: dict[str, str], toml: str = TOML) -> None:
    text = "".join(
        f"{name}==2.13 \\\n    --hash=sha256:aa\n" + (f"    # via {by}\n" if by else "")
        for name, by in sorted({"numpy": "", "uv": "", **via}.items())
    )
    definition = parse_definition(toml.replace("LEARN", learn))
    check(text, partition(text, definition, "cpu"), definition, "cpu")


def refusal(learn: str, via: dict[str, str]) -> str:
    with pytest.raises(LockError) as caught:
        checked(learn, via)
    return str(caught.value)


def test_cuda_packages_are_refused_without_cuda_and_the_ways_are_named() -> None:
    said = refusal("clip", {"clip": "", "torch": "clip", "nvidia-cublas-cu12": "torch"})
    assert "group learn requires clip, which brings nvidia-cublas-cu12" in said
    index = '{ url = "https://download.pytorch.org/whl/cpu", packages = ["torch"] }'
    assert f"indexes = [{index}] in [targets.cpu]" in said
    assert "such wheels: layerline call --wheelhouse=DIR lock --target=cpu" in said
    assert '"torch==2.13+cpu" in [groups.learn]' in said
    assert 'cuda = "12" in [targets.cpu]' in said


def test_an_extra_for_cuda_is_to_be_left_out() -> None:
    said = refusal("jax[cuda13]", {"jax": "", "jax-cuda13-pjrt": "jax"})
    assert "jax instead of jax[cuda13] in [groups.learn]" in said
    assert "torch" not in said


def test_cuda_packages_are_right_with_cuda_and_in_no_image() -> None:
    via = {"torch": "", "nvidia-cublas": "torch"}
    checked("torch", via, TOML.replace("[targets.cpu]", '[targets.cpu]\ncuda = "13"'))
    unused = TOML.replace("[targets.cpu]", '[targets.cpu]\ngroups = ["learn"]')
    checked("torch", via, unused.replace('["core", "learn"]', '["core"]'))


def test_a_package_twice_by_content_is_refused_with_the_line_to_write() -> None:
    via = {"ultralytics": "", "opencv-python": "ultralytics", "opencv-python-headless": ""}
    said = refusal('ultralytics", "opencv-python-headless', via)
    assert "opencv-python-headless and opencv-python, which ultralytics requires" in said
    assert 'add without = ["opencv-python"] to [groups.learn]' in said
    direct = refusal(
        'opencv-python", "opencv-python-headless',
        {**via, "opencv-python": ""} | {"ultralytics": "opencv-python"},
    )
    assert "remove opencv-python from [groups.learn]" in direct
