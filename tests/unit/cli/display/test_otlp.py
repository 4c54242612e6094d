"""A user's own collector gets the steps of a call as spans, by OTLP over HTTP."""

from __future__ import annotations

import http.server
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from layerline.cli.display.json_lines import JsonLines
from layerline.cli.display.otlp import SpanExporter
from layerline.log import Journal, Kind, Status
from tests.conftest import SOURCE
from tests.http_server import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

TRACE, PARENT = "ab" * 16, "cd" * 8


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    bodies: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            assert self.path == "/v1/traces"
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    with running(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"http://127.0.0.1:{port}", bodies


def spans_of(bodies: list[bytes]) -> dict[str, Span]:
    found: dict[str, Span] = {}
    for body in bodies:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                found |= {span.name: span for span in scope.spans}
    return found


def record(journal: Journal) -> None:
    call = journal.step("Sample.build", Kind.CALL)
    with call.around():
        journal.step("withExec true").end(Status.CACHED)
        journal.step("withExec false").end(Status.ERROR, "exit code: 1")
    call.end()


def test_steps_are_spans_of_the_trace_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with collector() as (endpoint, bodies):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        exporter = SpanExporter("layerline call", {"TRACEPARENT": f"00-{TRACE}-{PARENT}-01"})
        with exporter.exporting():
            record(Journal(listeners=[exporter]))
    spans = spans_of(bodies)
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE}
    root, call = spans["layerline call"], spans["Sample.build"]
    assert root.parent_span_id.hex() == PARENT
    assert call.parent_span_id == root.span_id
    assert spans["withExec true"].parent_span_id == call.span_id
    assert {a.key: a.value.bool_value for a in spans["withExec true"].attributes} == {
        "dagger.io/dag.cached": True,
        "dagger.io/dag.canceled": False,
    }
    assert spans["withExec false"].status.message == "exit code: 1"
    assert call.end_time_unix_nano >= spans["withExec false"].end_time_unix_nano


def test_a_collector_that_is_not_there_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    exporter = SpanExporter("layerline call", {})
    with exporter.exporting():
        record(Journal(listeners=[exporter]))


def test_lines_of_json_are_those_of_the_schema() -> None:
    schema = json.loads((SOURCE.parent / "docs/reference/progress.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    strict = Draft202012Validator({**schema, "additionalProperties": False})
    written: list[str] = []
    journal = Journal(listeners=[JsonLines(written.append)])
    record(journal)
    step = journal.begin(
        9, "probe", kind=Kind.SPAN, parent=1, attributes={"a": "b", "n": 1, "t": True, "f": 0.5}
    )
    step.write(b"said")
    step.report(5)
    step.report(7, 9)
    step.end(Status.CANCELED)
    lines = [json.loads(line) for line in written]
    for line in lines:
        strict.validate(line)
    assert {key for line in lines for key in line} == set(schema["properties"])
    assert not strict.is_valid({**lines[0], "status": "DONE"})


def test_progress_as_json_has_a_line_for_each_event() -> None:
    written: list[str] = []
    journal = Journal(listeners=[JsonLines(written.append)])
    step = journal.step("withExec true")
    step.write(b"said\n", stream=2)
    step.end(Status.ERROR, "exit code: 1")
    begun, output, end = map(json.loads, written)
    assert (begun["kind"], begun["name"], begun["step"]) == ("work", "withExec true", 1)
    assert (output["stream"], output["output"]) == (2, "said\n")
    assert (end["status"], end["message"]) == ("ERROR", "exit code: 1")
    assert end["time"] - begun["time"] == pytest.approx(end["seconds"], abs=1e-3)
