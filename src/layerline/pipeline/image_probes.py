"""The probes of an assembled image, each in a container of what it may read and nothing else.

Most of them read packages alone. They run on the image without its source, so a changed source file
does not repeat them. What else they could read (environment, user, base, layers, wheels of
projects) is in that container, and so in the key of its step.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import dagger

from layerline.pipeline import probe
from layerline.pipeline.probe import Evidence, Probe

_BUDGET = "budget"
# `commands` looks along the PATH, which may lead into the source.
_OF_PACKAGES = frozenset({"absent", "architectures", "orders", "owners", "single"})


async def evidence(
    without_source: dagger.Container,
    image: dagger.Container,
    probes: Sequence[Probe],
    *,
    subject: str,
    source: dagger.Directory,
    place: str,
    compiled: bool,
) -> Evidence:
    """Run the probes of an image, whose source is at `place`; the entries in the probes' order.

    `compiled` is whether its packages have their bytecode.
    """
    first = list(of_packages(probes, place))
    found = await probe.evidence(
        without_source, first, subject=subject, source=source, compiled=compiled
    )
    known = {each.program: entry for each, entry in zip(first, found["probes"], strict=True)}
    rest = list(of_source(probes, place, known))
    if rest:
        more = await probe.evidence(image, rest, subject=subject, source=source, compiled=compiled)
        known |= {each.program: entry for each, entry in zip(rest, more["probes"], strict=True)}
    return {**found, "probes": [known[each.program] for each in probes]}


def of_packages(probes: Sequence[Probe], place: str) -> Iterator[Probe]:
    """The probes that do not read the source; the budget measures what is not at its place."""
    for each in probes:
        if each.program == _BUDGET:
            yield replace(each, arguments=(*each.arguments, place))
        elif each.program in _OF_PACKAGES:
            yield each


def of_source(
    probes: Sequence[Probe], place: str, known: Mapping[str, Mapping[str, Any]]
) -> Iterator[Probe]:
    """The other probes, and the budget again, given what the first ones have found."""
    for each in probes:
        if each.program == _BUDGET:
            elsewhere = known[_BUDGET]["output"]
            yield replace(each, arguments=(*each.arguments, place, elsewhere))
        elif each.program not in _OF_PACKAGES:
            yield each
