"""Layers and images are probed once they can be assembled; failures are told from below."""

from __future__ import annotations

import anyio
import pytest

from layerline.pipeline.gates import Gates
from layerline.pipeline.layer import Layer


def layer(name: str, *needs: str) -> Layer:
    return Layer(name=name, groups=(name,), pins=(), imported=(), needs=frozenset(needs))


def gates_of(*layers: Layer) -> Gates:
    return Gates(
        subject="image api",
        inputs={},
        layers=layers,
        foundations={each.name: tuple(each.needs) for each in layers},
    )


async def test_an_image_waits_for_all_layers_and_a_layer_for_those_below() -> None:
    core, web = layer("core"), layer("web", "core")
    gates = gates_of(core, web)
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
        assert seen == []
        gates.ready["core"].set()
        await anyio.wait_all_tasks_blocked()
        assert seen == ["web"]  # core's own probes may still run; the image still lacks a layer
        gates.ready["web"].set()
    assert seen == ["web", "image"]


@pytest.mark.parametrize("is_image", [False, True])
async def test_a_failure_is_that_of_the_layer_that_causes_it(*, is_image: bool) -> None:
    core, web = layer("core"), layer("web", "core")
    gates = gates_of(core, web)
    failed = anyio.Event()

    async def probe_above() -> None:
        async with gates.below_first(None if is_image else web):
            failed.set()
            message = "what is above"
            raise ValueError(message)

    async def probe_core() -> None:
        async with gates.below_first(core):
            await failed.wait()
            await anyio.wait_all_tasks_blocked()
            message = "core"
            raise ValueError(message)

    async def probe() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(probe_above)
            group.start_soon(probe_core)

    with pytest.raises(ExceptionGroup) as raised:
        await probe()
    assert [str(each) for each in raised.value.exceptions] == ["core"]


async def test_a_failure_is_raised_once_those_below_have_passed() -> None:
    core, web = layer("core"), layer("web", "core")
    gates = gates_of(core, web)

    async def probe_web() -> None:
        async with gates.below_first(web):
            message = "web"
            raise ValueError(message)

    async def probe() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(probe_web)
            await anyio.wait_all_tasks_blocked()
            gates.passed["core"].set()

    with pytest.raises(ExceptionGroup) as raised:
        await probe()
    assert [str(each) for each in raised.value.exceptions] == ["web"]
