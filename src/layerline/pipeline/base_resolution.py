"""Pins the base and the distribution's packages of a target as they are offered now."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from layerline.pipeline.base_pins import BasePins, Deb, extra_packages
from layerline.pipeline.definition import Definition
from layerline.pipeline.environment import Environment
from layerline.pipeline.spans import span

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}$")


async def pin(environment: Environment, definition: Definition) -> BasePins:
    """The base's digest, and what apt would install on it, with the digests of its signed index.

    An environment that has pins keeps the base that these name.
    """
    reference = await environment.fetch_base()
    wanted = tuple(sorted(definition.base.packages))
    sets = _sets(definition)
    with span(f"pin the packages of {definition.base.image}"):
        lines = (await _simulated(environment, reference, sets)).splitlines()
    found = [line.split() for line in lines]
    debs = {Deb.of(fields) for number, *fields in found if number == "0"}
    extra = {Deb.of(fields) for _, *fields in found} - debs
    [digest] = _DIGEST.findall(reference)
    return BasePins(
        image=definition.base.image,
        digest=digest,
        packages=wanted,
        extra_packages=extra_packages(definition),
        debs=tuple(sorted(debs)),
        extra_debs=tuple(sorted(extra)),
    )


def _sets(definition: Definition) -> list[str]:
    """The packages that are installed together, those of the base alone first."""
    sets = {definition.base.build_packages}
    for image in definition.images.values():
        groups = [definition.groups[name].packages for name in image.groups]
        sets |= {*groups, tuple(name for packages in groups for name in packages)}
    base = definition.base.packages
    together = {" ".join(sorted({*base, *packages})) for packages in sets}
    alone = " ".join(sorted(base))
    return [alone, *sorted(together - {alone})]


async def _simulated(environment: Environment, reference: str, sets: Sequence[str]) -> str:
    mounts = await environment.supplies.of("system")
    # What is offered changes over time: never a cache hit.
    asked_at = datetime.now(UTC).isoformat()
    container = environment.base.simulation(reference, sets, mounts, asked_at)
    return await environment.supplies.again(container.stdout)
