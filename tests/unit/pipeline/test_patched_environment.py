"""What a newer base may differ in: names of wheels say what compiled packages depend on.

Python's ABI and minor version: https://packaging.python.org/specifications/platform-compatibility-tags/;
the C library: https://peps.python.org/pep-0600/ and 0656 (glibc and musl).
"""

from __future__ import annotations

import inspect
import json
import platform
import sys

import pytest

from layerline import command
from layerline.pipeline import patched_environment
from layerline.pipeline.environment import Environment, program
from layerline.pipeline.patched_environment import BaseMismatch, PatchedEnvironment

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


def test_everything_that_installs_is_the_earlier_environment_s() -> None:
    """A step that a new method of the environment adds is one base's or the other's, on purpose."""
    of_the_newer = {"system", "fetch_base", "inputs", "prepare", "installed", "volume"}
    of_the_newer |= {"build_inputs", "with_git"}
    methods = {name for name, _ in inspect.getmembers(Environment, inspect.isfunction)}
    public = {name for name in methods if not name.startswith("_")}
    assert public - of_the_newer == {*vars(PatchedEnvironment)} & public - {"prepare"}
