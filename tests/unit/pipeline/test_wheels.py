"""The files of a project in a wheelhouse, by a pattern of the engine's own matching."""

from __future__ import annotations

from layerline.patterns import Matcher
from layerline.pipeline.wheels import files_of

FILES = [
    "PyYAML-6.0.3-cp311-cp311-manylinux_2_17_x86_64.whl",
    "antlr4-python3-runtime-4.9.3.tar.gz",
    "jax-0.10.2-py3-none-any.whl",
    "jax_cuda13_plugin-0.10.2-cp311-cp311-manylinux_2_27_x86_64.whl",
    "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl",
    "torchvision-0.28.0-cp311-cp311-manylinux_2_28_x86_64.whl",
]


def matching_files(project: str) -> list[str]:
    matcher = Matcher([files_of(project)])
    return [name for name in FILES if matcher.matches(name)]


def test_a_project_has_its_files_however_they_are_spelt() -> None:
    assert matching_files("pyyaml") == FILES[:1]
    assert matching_files("antlr4-python3-runtime") == FILES[1:2]
    assert matching_files("jax-cuda13-plugin") == FILES[3:4]


def test_a_project_has_no_files_of_those_whose_names_begin_alike() -> None:
    assert matching_files("jax") == FILES[2:3]
    assert matching_files("torch") == FILES[4:5]
