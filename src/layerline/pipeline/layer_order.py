"""The order of layers, by layerline.toml and the lock alone: what changes rarely is below.

A registry and podman know a layer by its content, and its place does not matter to them. Docker
names a layer by all that lie below it (chain ids), so with a changed layer it also fetches and
unpacks those above.

1. Layers of packages that nobody requires by name, but that a group claims: their versions are
   those that other packages ask for.
2. Layers whose required packages all have a fixed version (`==`): they change with layerline.toml.
3. All others, each above those that it depends on, as it constrains the versions of these.

Within that, a layer with fewer packages is below: each package is a reason to change. Then the
name decides.
"""

from collections.abc import Collection, Iterable, Mapping

from packaging.requirements import Requirement

from layerline.pipeline.layer import Layer
from layerline.pipeline.requirement import project

_CLAIMED, _FIXED, _FREE = range(3)
_EXACT = frozenset({"==", "==="})


def fixed_projects(requirements: Iterable[str]) -> frozenset[str]:
    """The projects of requirements that ask for a fixed version, a series, or a URL."""
    parsed = {project(text): Requirement(text) for text in requirements}
    return frozenset(
        name
        for name, asked in parsed.items()
        if asked.url or _EXACT.intersection(each.operator for each in asked.specifier)
    )


def in_order(
    layers: Mapping[str, Layer], *, claimed: Collection[str], fixed: Collection[str]
) -> dict[str, Layer]:
    """The layers by name, lowest first.

    `claimed` are packages that a group claims, `fixed` those that are required in one version.
    """

    def kind(layer: Layer) -> int:
        if not layer.imported and all(pin.name in claimed for pin in layer.pins):
            return _CLAIMED
        return _FIXED if layer.imported and set(layer.imported) <= set(fixed) else _FREE

    kinds = {name: kind(layer) for name, layer in layers.items()}
    waiting = sorted(layers, key=lambda name: (kinds[name], len(layers[name].pins), name))
    found: dict[str, Layer] = {}
    while waiting:
        lowest = next((name for name in waiting if not _blocked(name, waiting, layers, kinds)), "")
        chosen = lowest or waiting[0]  # layers that need each other in a circle
        waiting.remove(chosen)
        found[chosen] = layers[chosen]
    return found


def _blocked(
    name: str, waiting: Collection[str], layers: Mapping[str, Layer], kinds: Mapping[str, int]
) -> bool:
    """Whether a layer that has to be below is not placed yet."""
    return any(
        kinds[other] < kinds[name]
        or (
            kinds[other] == kinds[name]
            and other in layers[name].needs
            and name not in layers[other].needs
        )
        for other in waiting
        if other != name
    )
