"""The bytes of GPU code that the probe `architectures` found, by architecture."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from layerline.pipeline.probe import Evidence

PROBE = "architectures"
_PACKAGE = re.compile(r"^(?P<name>[\w.-]+): (?P<parts>\w+ \d+(?:, \w+ \d+)*)$", re.MULTILINE)
_NUMBER = re.compile(r"\d+")


def by_architecture(found: Sequence[Evidence]) -> list[dict[str, Any]]:
    """Architectures with their bytes, in all and by package; empty without GPU code."""
    packages: dict[str, dict[str, int]] = {}
    for name, architecture, size in _entries(found):
        packages.setdefault(architecture, {})[name] = size
    return [
        {"architecture": name, "bytes": sum(sizes.values()), "packages": sizes}
        for name, sizes in sorted(packages.items(), key=lambda each: _in_order(each[0]))
    ]


def _entries(found: Sequence[Evidence]) -> Iterator[tuple[str, str, int]]:
    outputs = [one["output"] for each in found for one in each["probes"] if one["probe"] == PROBE]
    for line in _PACKAGE.finditer("\n".join(outputs)):
        for part in line["parts"].split(", "):
            architecture, size = part.split(" ")
            yield line["name"], architecture, int(size)


def _in_order(architecture: str) -> tuple[str, int, str]:
    """The key that sorts sm_90 before sm_100, and sm_90 before sm_90a."""
    number = _NUMBER.search(architecture)
    return (
        architecture.partition("_")[0],
        int(number[0]) if number is not None else 0,
        architecture,
    )
