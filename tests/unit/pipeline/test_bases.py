"""The version of Python chooses the base; one that is given stays.

Versions are those of https://packages.debian.org/python3 and https://packages.ubuntu.com/python3.
"""

from __future__ import annotations

import pytest

from layerline.pipeline.bases import ways_to
from layerline.pipeline.definition import parse_definition
from layerline.pipeline.diagnostics import DefinitionError
from layerline.pipeline.lock import LockError
from layerline.pipeline.lock_inputs import LockInputs, check
from layerline.pipeline.platform import Platform

TOML = """\
[base]
python = "3.12"
[targets.cpu]
[groups.core]
requirements = ["numpy"]
[images.small]
target = "cpu"
groups = ["core"]
"""


@pytest.mark.parametrize(
    ("python", "image"),
    [
        ("3.10", "ubuntu:22.04"),
        ("3.11", "debian:bookworm-slim"),
        ("3.12", "ubuntu:24.04"),
        ("3.13", "debian:trixie-slim"),
        ("3.14", "ubuntu:26.04"),
        ("3.15", "python:3.15-slim-bookworm"),
    ],
)
def test_the_base_is_one_that_has_the_version(python: str, image: str) -> None:
    base = parse_definition(TOML.replace("3.12", python)).base
    assert base.image == image
    assert ("python3-venv" in base.packages) == (not image.startswith("python:"))
    assert "tini" in base.packages


def test_a_base_that_is_given_stays() -> None:
    text = TOML.replace('python = "3.12"', 'python = "3.12"\nimage = "mine:1"\npackages = ["tini"]')
    base = parse_definition(text).base
    assert (base.image, base.packages) == ("mine:1", ("tini",))


@pytest.mark.parametrize("python", ['"3"', '"3.12.1"', "3.12", '"py312"'])
def test_a_version_is_two_numbers(python: str) -> None:
    with pytest.raises(DefinitionError, match=r"layerline.toml:2: base.python is "):
        parse_definition(TOML.replace('"3.12"', python))


def test_a_lock_for_another_python_is_refused() -> None:
    definition = parse_definition(TOML)
    pins = "numpy==2 \\\n    --hash=sha256:aa\nuv==1 \\\n    --hash=sha256:aa\n"
    text = LockInputs.of(definition, "cpu", Platform(python="3.12.3")).header() + pins
    check(text, definition, "cpu")
    with pytest.raises(LockError, match=r"the lock is for Python 3.11; base.python is 3.12"):
        check(text.replace("3.12.3", "3.11.2"), definition, "cpu")


def test_a_version_that_no_distribution_has_names_the_ways_to_it() -> None:
    assert ways_to("3.15", "python:3.15-slim-bookworm") == (
        'base.python = "3.15" needs the image python:3.15-slim-bookworm: reach a registry or a '
        "mirror that has it, name another one with Python 3.15 as base.image, or use one of 3.10, "
        "3.11, 3.12, 3.13, 3.14, whose bases are made from the distribution's packages where no "
        "registry is reached"
    )
