"""What a newer base may differ in: names of wheels say what compiled packages depend on.

Python's ABI and minor version: https://packaging.python.org/specifications/platform-compatibility-tags/;
the C library: https://peps.python.org/pep-0600/ and 0656 (glibc and musl).
"""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import fields
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from layerline import command
from layerline.pipeline import patched_environment
from layerline.pipeline.definition import Image, parse_definition
from layerline.pipeline.environment import program
from layerline.pipeline.image import Assembly
from layerline.pipeline.partition import partition
from layerline.pipeline.patched_environment import BaseMismatch, PatchedEnvironment
from layerline.pipeline.project_layer import ProjectLayer
from tests.unit.pipeline.test_partition import TOML, lock_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dagger

    from layerline.pipeline.environment import Environment
    from layerline.pipeline.layer import Layer

PARTS = partition(lock_text(), parse_definition(TOML), "cu13")

WAS = {
    "Python": "3.11",
    "ABI of extension modules": "cpython-311-x86_64-linux-gnu",
    "C library": "glibc 2.36",
}
BASE = "debian:trixie-slim@sha256:" + "a" * 64


def test_the_same_minor_version_and_c_library_are_patched() -> None:
    patched_environment.check(WAS, dict(WAS), BASE, target="cpu")


@pytest.mark.parametrize(
    ("name", "now"),
    [("Python", "3.13"), ("C library", "glibc 2.41"), ("C library", "other")],
)
def test_another_python_or_c_library_is_refused_by_name(name: str, now: str) -> None:
    with pytest.raises(BaseMismatch) as caught:
        patched_environment.check(WAS, {**WAS, name: now}, BASE, target="cpu")
    assert str(caught.value).splitlines()[:2] == [
        f"cannot patch cpu: the base {BASE} has",
        f"  {name} {now}; the layers are for {WAS[name]}",
    ]


def test_a_base_says_what_its_compiled_packages_depend_on() -> None:
    done = command.run([sys.executable, "-I", "-S", "-c", program("abi.py")])
    found = json.loads(done.stdout)
    assert found.keys() == WAS.keys()
    assert found["Python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    name, version = platform.libc_ver()
    assert found["C library"] == (f"{name} {version}" if name == "glibc" else "other")


class OfLayers:
    """What makes layers, and says which layers it was asked for."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    async def layer_parts(self, layer: Layer, _limit_mb: int | None) -> list[dagger.Directory]:
        self.asked.append(layer.name)
        return []

    async def wheel_files(self, wheels: Sequence[dagger.Directory]) -> dagger.Directory:
        self.asked.append(list(wheels))
        return cast("dagger.Directory", "files")


async def test_layers_and_wheels_are_made_in_the_environment_of_layers() -> None:
    """An environment that makes none itself is enough for who puts an image together."""
    made = OfLayers()
    environment = cast("Environment", SimpleNamespace(of_layers=made))
    nothing = cast("Any", None)
    projects = ProjectLayer(
        environment=environment, projects=nothing, parts=PARTS, platform=nothing, app="/app"
    )
    assembly = Assembly(
        definition=parse_definition(TOML),
        target="cu13",
        partition=PARTS,
        environment=environment,
        source=nothing,
        selection=nothing,
        projects=projects,
    )
    await assembly._with(nothing, [PARTS.layer("core")], bytecode=False)
    await projects.files("core", Image(target="cu13", groups=("core",), command=("python",)))
    assert made.asked == ["core", []]
    inherited = {each.name for each in fields(PatchedEnvironment)}
    own = {name for name in vars(PatchedEnvironment) if not name.startswith("_")}
    assert own - inherited == {"of_layers", "prepare"}
