"""Measures the start of an image that a project describes."""

from collections.abc import Sequence

from layerline.pipeline import cold_start
from layerline.pipeline.image import Assembly
from layerline.pipeline.probe import Evidence
from layerline.pipeline.spans import span


async def start(assembly: Assembly, name: str, *, fresh: str = "") -> cold_start.Measured:
    """Start an image until it is healthy and measure it; an error if it exceeds a budget."""
    spec = assembly.definition.image(name)
    cold_start.require_healthcheck(name, spec)
    container = await assembly.assemble(name, spec)
    with span(f"start {name}"):
        return await cold_start.measure(container, name, spec, fresh=fresh)


async def with_start(assembly: Assembly, name: str, found: Sequence[Evidence]) -> list[Evidence]:
    """The evidence of an image with what its start took, if it has a budget for that."""
    if not cold_start.is_wanted(assembly.definition.image(name)):
        return list(found)
    return [*found[:-1], {**found[-1], "start": await start(assembly, name)}]
