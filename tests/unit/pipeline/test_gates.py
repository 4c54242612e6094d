"""An image is probed once it can be assembled: until then it waits, and is not called probed."""

from __future__ import annotations

import anyio

from layerline.pipeline.gates import Gates
from layerline.pipeline.layer import Layer


def layer(name: str, *needs: str) -> Layer:
    return Layer(name=name, groups=(name,), pins=(), imported=(), needs=frozenset(needs))


async def test_an_image_waits_for_all_layers_and_for_the_probes_of_foundations() -> None:
    core, web = layer("core"), layer("web", "core")
    gates = Gates(
        subject="image api",
        inputs={},
        layers=(core, web),
        foundations={"core": (), "web": ("core",)},
    )
    seen: list[str] = []

    async def probe_image() -> None:
        await gates.wait_for_image()
        seen.append("image")

    async def probe_web() -> None:
        await gates.wait_for_layer(web)
        seen.append("web")

    async with anyio.create_task_group() as group:
        group.start_soon(probe_image)
        group.start_soon(probe_web)
        await anyio.wait_all_tasks_blocked()
        gates.ready["core"].set()
        gates.passed["core"].set()
        await anyio.wait_all_tasks_blocked()
        assert seen == ["web"]  # the image still lacks a layer
        gates.ready["web"].set()
    assert seen == ["web", "image"]
