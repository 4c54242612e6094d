"""Spans that a module's process exports are steps of the journal.

The exporter is OpenTelemetry's own, set up as dagger-io's `dagger.telemetry` does; the requests are
those of the OTLP/HTTP specification, the header that of W3C Trace Context.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanContext, StatusCode, TraceFlags
from opentelemetry.trace import Status as SpanStatus
from opentelemetry.trace.propagation import set_span_in_context
from opentelemetry.trace.span import NonRecordingSpan

from layerline.engine.api.server import serve_session
from layerline.engine.api.spans import MOST_SPANS, ClientSpans
from layerline.engine.runtime.confined_process import ConfinedProcess
from layerline.log import Event, Journal, Kind, Status, parts_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

    from layerline.engine.api.session import Client, Session
    from tests.unit.conftest import OpenSession


class Batches(SpanProcessor):
    """What the exporter would send: each span when it begins and when it ends."""

    def __init__(self) -> None:
        self.batches: list[bytes] = []

    def on_start(self, span: ReadableSpan, parent_context: Context | None = None) -> None:  # noqa: ARG002  the SDK calls it so
        """As dagger-io's `LiveSpanProcessor` does it."""
        self.on_end(span)

    def on_end(self, span: ReadableSpan) -> None:
        self.batches.append(encode_spans([span]).SerializeToString())


def traced(spans: ClientSpans) -> tuple[Batches, Tracer, Context]:
    exporter = Batches()
    provider = TracerProvider()
    provider.add_span_processor(exporter)
    root = SpanContext(
        int(spans.trace, 16), int(spans.root, 16), is_remote=True, trace_flags=TraceFlags(1)
    )
    return exporter, provider.get_tracer("test"), set_span_in_context(NonRecordingSpan(root))


def header(span: Span) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


class Seen:
    """A journal whose events are kept."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.journal = Journal(listeners=[self.events.append])
        self.call = self.journal.step("Sample.call", Kind.CALL)
        self.spans = ClientSpans(journal=self.journal, call=self.call.number)
        self.exporter, self.tracer, self.root = traced(self.spans)

    def deliver(self) -> None:
        for batch in self.exporter.batches:
            self.spans.take(batch)
        self.exporter.batches.clear()

    def told(self) -> list[tuple[str, Status | None]]:
        return [(each.name, each.status) for each in self.events if each.kind is Kind.SPAN]


def test_a_span_begins_and_ends_as_a_part_of_the_call() -> None:
    seen = Seen()
    with seen.tracer.start_as_current_span("install torch", context=seen.root) as span:
        seen.deliver()
        assert seen.told() == [("install torch", None)]
        span.set_attribute("layerline.bytes", 12)
    seen.deliver()
    begun, ended = (each for each in seen.events if each.kind is Kind.SPAN)
    assert ended.status is Status.DONE
    assert ended.attributes == {"layerline.bytes": 12}
    assert begun.parent == seen.call.number
    assert ended.seconds == pytest.approx(
        (span.end_time - span.start_time) / 1e9,  # type: ignore[attr-defined]
        abs=1e-3,
    )


def test_work_that_is_asked_for_in_a_span_is_a_part_of_it_before_its_name_is_known() -> None:
    seen = Seen()
    with (
        seen.tracer.start_as_current_span("outer", context=seen.root),
        seen.tracer.start_as_current_span("inner") as inner,
        parts_of(seen.spans.step_of(header(inner))),
    ):
        seen.journal.step("withExec true").end()
    seen.deliver()
    work = next(each for each in seen.events if each.name == "withExec true")
    numbers = {each.name: each.step for each in seen.events if each.kind is Kind.SPAN}
    parents = {each.name: each.parent for each in seen.events if each.kind is Kind.SPAN}
    assert work.parent == numbers["inner"]
    assert parents == {"outer": seen.call.number, "inner": numbers["outer"]}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        f"00-{'0' * 32}-{'1' * 16}-01",
        "00-x-y-01",
        "00-" + "f" * 32 + "-" + "1" * 16,
    ],
)
def test_a_header_of_another_trace_is_the_call(text: str) -> None:
    seen = Seen()
    assert seen.spans.step_of(text) == seen.call.number


def test_how_a_span_ends() -> None:
    seen = Seen()
    message = "no such wheel"
    with (
        contextlib.suppress(ValueError),
        seen.tracer.start_as_current_span("raises", context=seen.root),
    ):
        raise ValueError(message)
    with seen.tracer.start_as_current_span("canceled", context=seen.root) as span:
        span.set_attribute("dagger.io/dag.canceled", value=True)
    with seen.tracer.start_as_current_span("cached", context=seen.root) as span:
        span.set_attribute("dagger.io/dag.cached", value=True)
    with seen.tracer.start_as_current_span("told", context=seen.root) as span:
        span.set_status(SpanStatus(StatusCode.ERROR, "why"))
    internal = {"dagger.io/ui.internal": True}
    with seen.tracer.start_as_current_span("hidden", context=seen.root, attributes=internal):
        pass
    seen.tracer.start_span("left open", context=seen.root)
    seen.deliver()
    seen.spans.close()
    ends = {each.name: (each.status, each.message) for each in seen.events if each.status}
    assert ends == {
        "raises": (Status.ERROR, "ValueError: no such wheel"),
        "canceled": (Status.CANCELED, ""),
        "cached": (Status.CACHED, ""),
        "told": (Status.ERROR, "why"),
        "left open": (Status.CANCELED, ""),
    }


def test_a_name_steers_no_terminal_and_holds_no_secret() -> None:
    seen = Seen()
    seen.journal.masks.add(b"hunter2hunter2")
    name = "a\x1b]0;title\x07b\nc hunter2hunter2 " + "x" * 1000
    with seen.tracer.start_as_current_span(name, context=seen.root) as span:
        span.set_attribute("note", "hunter2hunter2\x1b[2J")
    seen.deliver()
    ended = seen.events[-1]
    assert ended.name.startswith("a ]0;title b c *** xxx")
    assert len(ended.name) <= 200
    assert ended.attributes == {"note": "*** [2J"}


def test_texts_of_a_span_keep_their_lines_and_have_a_length_together() -> None:
    seen = Seen()
    with seen.tracer.start_as_current_span("install jax", context=seen.root) as span:
        span.set_attribute("layerline.input.pins", "numpy 1\njax\t2\n")
        span.set_attribute("long", "x" * 16_000)
        span.set_attribute("longer", "y" * 16_000)
    seen.deliver()
    found = seen.events[-1].attributes
    assert found["layerline.input.pins"] == "numpy 1\njax 2\n"
    assert sum(len(str(text)) for text in found.values()) == 16_384
    assert set(str(found["longer"])) == {"y"}


def test_more_spans_than_anybody_reads_are_not_shown() -> None:
    seen = Seen()
    for number in range(MOST_SPANS + 5):
        seen.spans.step_of(f"00-{seen.spans.trace}-{number + 1:016x}-01")
    with seen.tracer.start_as_current_span("one more", context=seen.root):
        pass
    seen.deliver()
    assert seen.told() == []


@contextlib.asynccontextmanager
async def open_client(
    open_a_session: OpenSession,
) -> AsyncIterator[tuple[Session, Client, httpx.AsyncClient]]:
    async with open_a_session() as session, serve_session(session) as port:
        url = f"http://127.0.0.1:{port}"
        process = ConfinedProcess(environ={}, cwd="/")
        call = session.journal.step("Sample.call", Kind.CALL)
        admitted = session.admit(namespace="mod(x)", process=process, call=call.number)
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            yield session, admitted, client


PROTOBUF = {"content-type": "application/x-protobuf"}


async def test_the_session_takes_spans_by_otlp(open_a_session: OpenSession) -> None:
    async with open_client(open_a_session) as (session, admitted, client):
        events: list[Event] = []
        session.journal.listeners.append(events.append)
        assert admitted.spans is not None
        exporter, tracer, root = traced(admitted.spans)
        with tracer.start_as_current_span("probe jax", context=root) as span:
            query = {"query": '{ directory { withNewFile(path: "a", contents: "b") { entries } } }'}
            login = (admitted.token, "")
            sent = {"traceparent": header(span)}
            answer = await client.post("/query", json=query, auth=login, headers=sent)
            assert answer.json()["data"]
        for batch in exporter.batches:
            answer = await client.post("/v1/traces", content=batch, auth=login, headers=PROTOBUF)
            assert (answer.status_code, answer.content) == (200, b"")
        number = next(each.step for each in events if each.name == "probe jax")
        assert {each.parent for each in events if each.kind is Kind.WORK} == {number}


async def test_a_request_that_is_no_batch_of_spans_is_refused(open_a_session: OpenSession) -> None:
    async with open_client(open_a_session) as (_session, admitted, client):
        login = (admitted.token, "")
        bad = await client.post("/v1/traces", content=b"\xff\xff", auth=login, headers=PROTOBUF)
        assert bad.status_code == 400
        plain = await client.post("/v1/traces", json={}, auth=login)
        assert plain.status_code == 415
        stranger = await client.post("/v1/traces", content=b"", headers=PROTOBUF)
        assert stranger.status_code == 401


async def test_the_variables_lead_the_sdk_to_the_session(open_a_session: OpenSession) -> None:
    async with open_client(open_a_session) as (session, admitted, _client):
        environ = session.environ(admitted)
        assert environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"].endswith(f":{session.port}/v1/traces")
        assert admitted.spans is not None
        assert environ["TRACEPARENT"] == f"00-{admitted.spans.trace}-{admitted.spans.root}-01"
        assert not [name for name in session.environ(session.main) if name.startswith("OTEL_")]


def test_no_proxy_gets_the_token() -> None:
    spans = ClientSpans(journal=Journal(), call=1)
    proxies = {"HTTP_PROXY": "http://proxy:3128", "no_proxy": "localhost,.corp"}
    environ = spans.variables(port=1, token="t", proxies=proxies)
    assert environ["no_proxy"] == "localhost,.corp,127.0.0.1"
    assert environ["NO_PROXY"] == environ["no_proxy"]
    assert "NO_PROXY" not in spans.variables(port=1, token="t", proxies={})
