"""The steps of a call as spans for the user's own collector, where the environment names one.

Imported only then: OpenTelemetry's SDK takes a fifth of a second to load.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import StatusCode

from layerline.log import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.trace import Span

    from layerline.log import Event

_SECONDS = 2  # for a request; a collector that does not answer holds no call up for longer
_NANOSECONDS = 10**9


class SpanExporter:
    """A listener of the journal; `environ` may name the trace that the call is a part of."""

    def __init__(self, name: str, environ: Mapping[str, str]) -> None:
        self._provider = TracerProvider(
            resource=Resource.create(
                {"service.name": environ.get("OTEL_SERVICE_NAME", "layerline")}
            )
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=_SECONDS)))
        self._tracer = self._provider.get_tracer("layerline")
        within = propagate.extract({"traceparent": environ.get("TRACEPARENT", "")})
        self._root = self._tracer.start_span(name, context=within)
        self._spans: dict[int, Span] = {}

    def __call__(self, event: Event) -> None:
        """Begin or end a span; outputs are not exported."""
        when = round(event.time * _NANOSECONDS)
        if event.output is not None or event.received is not None:
            return
        if event.status is None:
            parent = self._spans.get(event.parent or 0, self._root)
            self._spans[event.step] = self._tracer.start_span(
                event.name, context=trace.set_span_in_context(parent), start_time=when
            )
            return
        span = self._spans.get(event.step)
        if span is None:
            return
        for key, value in event.attributes.items():
            span.set_attribute(key, value)
        span.set_attribute("dagger.io/dag.cached", event.status is Status.CACHED)
        span.set_attribute("dagger.io/dag.canceled", event.status is Status.CANCELED)
        if event.status is Status.ERROR:
            span.set_status(StatusCode.ERROR, event.message)
        span.end(when)

    @contextmanager
    def exporting(self) -> Iterator[None]:
        """Export what is left at the end of the block, or nothing if nobody takes it in time."""
        try:
            yield
        except BaseException:
            self._root.set_status(StatusCode.ERROR)
            raise
        finally:
            for span in (*self._spans.values(), self._root):
                if span.is_recording():
                    span.end()
            self._provider.force_flush(_SECONDS * 1000)
            self._provider.shutdown()
