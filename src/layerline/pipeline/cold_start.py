"""How long an image takes from its start until it is healthy, and how much memory it has then.

The image's command is started in the image itself, without what else an image test needs. A start
is cold as its processes are new; the image's files may be in the machine's page cache, which a
container cannot empty, so the bytes that came from the disk are measured as well.
"""

import json
from typing import Any

import dagger

from layerline.pipeline.definition import Image
from layerline.pipeline.diagnostics import DefinitionError, Diagnostic
from layerline.pipeline.environment import PYTHON, program

STARTS = 5
Measured = dict[str, Any]


def is_wanted(spec: Image) -> bool:
    """Whether the image has a budget for its start."""
    return spec.cold_start_ms is not None or spec.memory_mb is not None


def require_healthcheck(name: str, spec: Image) -> None:
    """Raise an error if nothing can say when the image has started."""
    if not spec.healthcheck:
        message = (
            f"image {name} has no health check to be measured by: "
            'add healthcheck = ["python", "-m", "healthcheck"]'
        )
        raise DefinitionError([Diagnostic(message, ("images", name))])


async def measure(image: dagger.Container, name: str, spec: Image, *, fresh: str = "") -> Measured:
    """Start an image several times; raises an error if it exceeds a budget.

    An equal image is not started again, unless `fresh` is a text that was not given before.
    """
    request = {
        "image": name,
        "command": [*spec.entrypoint, *spec.command],
        "healthcheck": spec.healthcheck,
        "starts": STARTS,
        "cold_start_ms": spec.cold_start_ms,
        "memory_mb": spec.memory_mb,
    }
    if fresh:
        image = image.with_env_variable("TEST_RUN", fresh)
    argv = [PYTHON, "-I", "-c", program("cold_start.py"), json.dumps(request)]
    found: Measured = json.loads(await image.with_exec(argv).stdout())
    return {**found, "budget": {key: request[key] for key in ("cold_start_ms", "memory_mb")}}


def describe(measured: Measured) -> str:
    """The measurement in one line."""
    starts = measured["starts"]
    times = ", ".join(str(each["cold_start_ms"]) for each in starts)
    check = max(each["check_ms"] for each in starts)
    read = ", ".join(f"{each['read_mb']:g}" for each in starts)
    return (
        f"healthy after {measured['cold_start_ms']} ms{_of(measured, 'cold_start_ms')}: the median "
        f"of {times}, of which the passing check took up to {check}; "
        f"{measured['memory_mb']} MB of memory{_of(measured, 'memory_mb')}; read from the disk "
        f"{read} MB, the rest from the page cache; {measured['processors']} processors"
    )


def _of(measured: Measured, key: str) -> str:
    budget = measured["budget"][key]
    return "" if budget is None else f" of {budget}"
