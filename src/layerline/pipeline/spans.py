"""What the pipeline is doing, as spans of OpenTelemetry: both engines show them by name.

The attributes are for those who show progress: `layerline.steps` is how many spans a span will have
below it, `layerline.waits` marks one that only waits for others. What came of it are
`layerline.bytes` that were downloaded, `layerline.size` in bytes and `layerline.passed` probes.
Spans of one `layerline.part` of one `layerline.target` are a row of the summary.
`layerline.input.NAME` is what a span depends on, for those who kept the earlier value and say what
changed: a text, or lines `KEY VALUE`.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TypeVar

import dagger
from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode

from layerline.pipeline.changes import Value
from layerline.pipeline.layer import Layer

BYTES = "layerline.bytes"
PASSED = "layerline.passed"
SIZE = "layerline.size"
_CANCELED = "dagger.io/dag.canceled"  # Dagger's own
_tracer = trace.get_tracer("layerline")
Written = TypeVar("Written", dagger.File, dagger.Directory)


class Stopwatch:
    """Seconds since it was made, to the millisecond."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @contextmanager
    def lap(self) -> Iterator[list[float]]:
        """The seconds at the beginning and, after the block, at its end."""
        found = [self._seconds()]
        yield found
        found.append(self._seconds())

    def _seconds(self) -> float:
        return round(time.monotonic() - self._began, 3)


@contextmanager
def span(
    name: str, inputs: Mapping[str, Value] = MappingProxyType({}), **attributes: int | str
) -> Iterator[Span]:
    """A span around the block; what is raised in it is shown by the caller."""
    with _tracer.start_as_current_span(
        name, record_exception=False, set_status_on_exception=False
    ) as opened:
        for key, value in attributes.items():
            opened.set_attribute(f"layerline.{key}", value)
        for key, depends in inputs.items():
            text = depends if isinstance(depends, str) else "".join(f"{each}\n" for each in depends)
            opened.set_attribute(f"layerline.input.{key}", text)
        try:
            yield opened
        except Exception:
            opened.set_status(Status(StatusCode.ERROR))
            raise
        except BaseException:  # cancelled
            opened.set_attribute(_CANCELED, value=True)
            raise


async def write(made: Written, name: str) -> Written:
    """Write what a function returns in a span of its own.

    Who saves it would do so otherwise, in steps after the call: `withNewFile` for each file.
    """
    with span(f"write {name}"):
        return await made.sync()


def install_of(layer: Layer, target: str) -> str:
    """The name of an installation: `install pytorch (cu13): torch 2.14.1 +5`."""
    pins = {pin.name: pin for pin in layer.pins}
    known = [name for name in layer.imported if name in pins] or sorted(pins)
    if not known:
        return f"install {layer.name} ({target})"
    first = pins[known[0]]
    rest = f" +{len(pins) - 1}" if len(pins) > 1 else ""
    return f"install {layer.name} ({target}): {first.name} {first.version}{rest}"
