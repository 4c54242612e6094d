"""Bases by the version of Python that they bring.

Considered as well: builds that uv manages (python-build-standalone, from GitHub's releases: no
security updates of a distribution, not a package that a scanner finds), interpreters in wheels of
PyPI (CPython publishes none), conda's packages (another kind of registry), PPAs (Ubuntu alone, one
maintainer), pyenv (a compiler in every base). A distribution's own Python is patched with the rest
of the base; where none has the version, the official image of Python does.

https://packages.debian.org/python3, https://packages.ubuntu.com/python3,
https://hub.docker.com/_/python
"""

from types import MappingProxyType
from typing import Any

from layerline.pipeline.errors import PipelineError

DISTRIBUTIONS = MappingProxyType(
    {
        "3.10": "ubuntu:22.04",
        "3.11": "debian:bookworm-slim",
        "3.12": "ubuntu:24.04",
        "3.13": "debian:trixie-slim",
        "3.14": "ubuntu:26.04",
    }
)
PACKAGES = ("ca-certificates", "libgomp1", "python3", "python3-venv", "tini")


class BaseUnavailable(PipelineError):
    """The base that a version of Python wants cannot be had here."""


def ways_to(python: str, image: str) -> str:
    """What to do where the image of a version of Python cannot be fetched."""
    made = ", ".join(DISTRIBUTIONS)
    return (
        f'base.python = "{python}" needs the image {image}: reach a registry or a mirror that has '
        f"it, name another one with Python {python} as base.image, or use one of {made}, whose "
        "bases are made from the distribution's packages where no registry is reached"
    )


def base_with(python: str) -> dict[str, Any]:
    """The image that has a version of Python, and the packages to install there."""
    if python in DISTRIBUTIONS:
        return {"image": DISTRIBUTIONS[python]}
    # It has its own Python, and that of Debian next to it would be another one.
    packages = [name for name in PACKAGES if not name.startswith("python3")]
    return {"image": f"python:{python}-slim-bookworm", "packages": packages}
