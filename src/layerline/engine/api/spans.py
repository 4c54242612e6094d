"""Spans of OpenTelemetry: what a module says that it is doing, as steps of the journal.

The Dagger engine gives each function's process the address of a collector of its own and shows what
arrives there; so does this one. A request of a client tells by its `traceparent` (W3C Trace
Context) which span it belongs to; the name of that span comes with the next batch of the exporter,
which is later. Its step has its number from the first of both on.
"""

from __future__ import annotations

import base64
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from layerline.errors import QueryError
from layerline.log import Kind, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from layerline.log import Attribute, Journal, Step

PATH = "/v1/traces"
MEDIA_TYPE = "application/x-protobuf"
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_LONGEST_NAME = 200
_MOST_ATTRIBUTES = 64
_MOST_CHARACTERS = 16_384  # of a span's texts together: what a layer of 200 packages depends on
MOST_SPANS = 10_000
"""Spans of one client; more are not shown."""
_NANOSECONDS = 1e9
_FAILED = 2  # STATUS_CODE_ERROR


@dataclass(slots=True, kw_only=True, eq=False)
class ClientSpans:
    """The spans of one client's process, below the step that it was started for."""

    journal: Journal
    call: int | None
    trace: str = field(default_factory=lambda: secrets.token_hex(16))
    root: str = field(default_factory=lambda: secrets.token_hex(8))
    _numbers: dict[str, int] = field(default_factory=dict)
    _steps: dict[str, Step] = field(default_factory=dict)

    def variables(self, *, port: int, token: str, proxies: Mapping[str, str]) -> dict[str, str]:
        """The variables that make an SDK export its spans to this session, as they begin and end.

        No proxy of `proxies` gets them, since they hold the token. Source: OpenTelemetry
        Environment Variable Specification; `_LIVE` is Dagger's own.
        """
        login = base64.b64encode(f"{token}:".encode()).decode()
        known = proxies.get("no_proxy") or proxies.get("NO_PROXY") or ""
        direct = ",".join(filter(None, (known, "127.0.0.1")))
        bypass = {"NO_PROXY": direct, "no_proxy": direct} if proxies else {}
        return {
            **bypass,
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://127.0.0.1:{port}{PATH}",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": f"authorization=Basic%20{login}",
            "OTEL_EXPORTER_OTLP_TRACES_LIVE": "1",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_TRACES_EXPORTER": "otlp",
            "TRACEPARENT": f"00-{self.trace}-{self.root}-01",
        }

    def step_of(self, traceparent: str) -> int | None:
        """The number of the step that a request is a part of."""
        found = _TRACEPARENT.fullmatch(traceparent.strip())
        if found is None or found[1] != self.trace:
            return self.call
        return self._number(found[2])

    def take(self, batch: bytes) -> None:
        """Show the spans of a request of an exporter; QueryError is raised where it is not one."""
        # Most sessions have no spans: it is not imported for them.
        from google.protobuf.message import DecodeError
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service

        try:
            request = service.ExportTraceServiceRequest.FromString(batch)
        except DecodeError as exc:
            message = f"the request could not be decoded as an ExportTraceServiceRequest: {exc}"
            raise QueryError(message) from exc
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self._show(span)

    def close(self) -> None:
        """End the spans that are still open: their process has ended."""
        for step in self._steps.values():
            step.end(Status.CANCELED)

    def _number(self, span: str) -> int | None:
        """The number of a span's step, whether or not it has arrived."""
        if span == self.root:
            return self.call
        if span not in self._numbers:
            if len(self._numbers) >= MOST_SPANS:
                return self.call
            self._numbers[span] = self.journal.next_number()
        return self._numbers[span]

    def _show(self, span: Span) -> None:
        if span.trace_id.hex() != self.trace:
            return
        identifier = span.span_id.hex()
        number = self._number(identifier)
        if number is None or number == self.call or _is_internal(span):
            return
        step = self._steps.get(identifier)
        if step is None:
            step = self._steps[identifier] = self.journal.begin(
                number,
                _line(span.name)[:_LONGEST_NAME],
                kind=Kind.SPAN,
                parent=self._number(span.parent_span_id.hex()),
                began=span.start_time_unix_nano / _NANOSECONDS,
                attributes=self._attributes(span.attributes),
            )
        if span.end_time_unix_nano:
            step.attributes = self._attributes(span.attributes)
            when = span.end_time_unix_nano / _NANOSECONDS
            step.end(_status(span), span.status.message, when=when)

    def _attributes(self, given: Iterable[KeyValue]) -> Mapping[str, Attribute]:
        found: dict[str, Attribute] = {}
        left = _MOST_CHARACTERS
        for each in list(given)[:_MOST_ATTRIBUTES]:
            kind = each.value.WhichOneof("value")
            if kind == "string_value":
                lines = each.value.string_value.split("\n")
                text = self.journal.masks.mask("\n".join(map(_line, lines)))[:left]
                left -= len(text)
                found[each.key] = text
            elif kind in ("bool_value", "int_value", "double_value"):
                found[each.key] = getattr(each.value, kind)
        return found


def _is_internal(span: Span) -> bool:
    """Whether the SDK says that the span is not for people, by Dagger's attribute."""
    return _has(span, "dagger.io/ui.internal")


def _status(span: Span) -> Status:
    if span.status.code == _FAILED:
        return Status.ERROR
    if _has(span, "dagger.io/dag.canceled"):
        return Status.CANCELED
    return Status.CACHED if _has(span, "dagger.io/dag.cached") else Status.DONE


def _has(span: Span, attribute: str) -> bool:
    return any(each.key == attribute and each.value.bool_value for each in span.attributes)


def _line(text: str) -> str:
    """The text without what would steer a terminal."""
    return _CONTROL.sub(" ", text).strip()
