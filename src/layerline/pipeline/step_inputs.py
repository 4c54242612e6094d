"""What each step of a build depends on, short enough for the attributes of spans.

A value is a line, or a sequence of `KEY` or `KEY VALUE`. Who kept those of an earlier build says
what changed; digests are cut, as they are only compared.
"""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from layerline.pipeline import changes
from layerline.pipeline.changes import Value
from layerline.pipeline.layer import Layer
from layerline.pipeline.lock import Pin, requirements

MOST_FILES = 40
_DIGITS = 12
Inputs = Mapping[str, Value]


def of_base(inputs: Mapping[str, Value]) -> Inputs:
    """Those of the base and the installer, which all layers depend on."""
    return {name: _short(value) for name, value in inputs.items()}


def of_install(
    layer: Layer, base: Mapping[str, Value], tools: Mapping[str, Value] = MappingProxyType({})
) -> Inputs:
    """Those of a layer's installation; `base` has those of the base, `tools` of what is built."""
    pins = [f"{pin.name} {pin.version} {_digest(requirements([pin]))}" for pin in layer.pins]
    built: Inputs = {}
    if layer.from_source:
        built = {"build requirements": _digest(layer.build_requirements), **of_base(tools)}
    return {**of_base(base), "pins": sorted(pins), **built}


def of_compile(base: Mapping[str, Value], program: str) -> Inputs:
    """Those of a layer's bytecode, which the digest of the program that compiles is one of."""
    return {**of_base(base), "bytecode": _short(program)}


def of_project(
    base: Mapping[str, Value],
    tools: Mapping[str, Value],
    builders: Sequence[Pin],
    files: Mapping[str, str],
) -> Inputs:
    """Those of a project's wheel; `files` are the digests of its source."""
    source = [f"{path} {_cut(digest)}" for path, digest in files.items()]
    built = {"build requirements": _digest(requirements(builders)), **of_base(tools)}
    return {**of_base(base), **built, "source": source}


def of_probes(found: Mapping[str, Any], below: Sequence[Layer]) -> Inputs:
    """Those of the probes of a layer or an image; `below` are the layers that it is made of."""
    probed = {name: _short(value) for name, value in found["probed"].items()}
    layers = sorted(f"{layer.name} {_digest(layer.requirements)}" for layer in below)
    return {**probed, **({"layers": layers} if layers else {})}


def of_image(found: Mapping[str, Any], below: Sequence[Layer], files: Mapping[str, str]) -> Inputs:
    """Those of an assembled image and its probes; `files` are the digests of its source."""
    keys = [f"{key} {_digest(json.dumps(value))}" for key, value in found["image"].items()]
    source = [f"{path} {_cut(digest)}" for path, digest in files.items()]
    projects = [f"{path} {_cut(digest)}" for path, digest in found.get("projects", {}).items()]
    built = {"projects": projects} if projects else {}
    return {**of_probes(found, below), **built, "settings": keys, "source": source}


def _short(value: Value) -> Value:
    if isinstance(value, str):
        return " ".join(_cut(each) for each in value.split())
    return value


def _cut(text: str) -> str:
    """The text with a digest in it cut."""
    before, colon, digest = text.partition("sha256:")
    return f"{before}{colon}{digest[:_DIGITS]}" if colon else text


def _digest(text: str) -> str:
    return _cut(changes.digest(text))
