"""What the tasks that build an image wait for, and what they find."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

import anyio

from layerline.pipeline.layer import Layer
from layerline.pipeline.probe import Evidence
from layerline.pipeline.spans import Stopwatch, span
from layerline.pipeline.step_inputs import Inputs


@dataclass(slots=True, kw_only=True, eq=False)
class Gates:
    """Two events for each layer of an image; `inputs` are those of the steps, by their subject.

    `of_image` are those of the image as its spans have them, once they are known.
    A layer is ready once it is installed and compiled.
    `foundations` are the layers whose probes another one needs.
    """

    subject: str
    inputs: Mapping[str, Evidence]
    layers: Sequence[Layer]
    foundations: Mapping[str, Sequence[str]]
    ready: dict[str, anyio.Event] = field(init=False)
    passed: dict[str, anyio.Event] = field(init=False)
    found: dict[str, Evidence] = field(default_factory=dict, init=False)
    of_image: Inputs = field(default_factory=dict, init=False)
    clock: Stopwatch = field(default_factory=Stopwatch, init=False)

    def __post_init__(self) -> None:
        self.ready = {layer.name: anyio.Event() for layer in self.layers}
        self.passed = {layer.name: anyio.Event() for layer in self.layers}

    @property
    def evidence(self) -> list[Evidence]:
        """What was found, in the order of the layers, then of the image."""
        return [self.found[name] for name in (*self.passed, self.subject)]

    async def wait_for_layer(self, layer: Layer) -> None:
        """Wait until the layers that a layer depends on are made."""
        needed = {name: self.ready[name] for name in self.foundations[layer.name]}
        await _wait(f"probe {layer.name}", needed)

    async def wait_for_image(self) -> None:
        """Wait until all layers are made."""
        await _wait(f"probe {self.subject}", self.ready)

    @contextlib.asynccontextmanager
    async def below_first(self, layer: Layer | None = None) -> AsyncIterator[None]:
        """Probe a layer or the image in the block; it ends when all below have passed.

        So a failure is raised for the layer that causes it, which ends those that wait for it.
        """
        below = (
            {*self.foundations[layer.name]} if layer else set().union(*self.foundations.values())
        )
        name = layer.name if layer else self.subject
        try:
            yield
        finally:
            passed = {each: event for each, event in self.passed.items() if each in below}
            await _wait(f"the result of {name}", passed)


async def _wait(who: str, needed: Mapping[str, anyio.Event]) -> None:
    if missing := [name for name, event in needed.items() if not event.is_set()]:
        with span(f"{who} waits for {', '.join(missing)}", waits=True):
            for name in missing:
                await needed[name].wait()
