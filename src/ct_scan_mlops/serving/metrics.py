"""What the service counts about itself, in Prometheus' text format.

One registry per application, and labels only from closed sets: no client can add a time series.
"""

from dataclasses import KW_ONLY, dataclass
from http import HTTPStatus
from time import perf_counter

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ROUTES = frozenset({"/health", "/ready", "/predict", "/metrics"})
REFUSALS = frozenset({400, 408, 413, 415, 422, 429, 503})
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The time series of one application."""

    registry: CollectorRegistry
    requests: Counter
    refused: Counter
    seconds: Histogram
    in_flight: Gauge
    predictions: Counter
    model_ready: Gauge

    @classmethod
    def new(cls) -> "Metrics":
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        return cls(
            registry=registry,
            requests=Counter(
                "ct_scan_requests", "Requests answered.", ["route", "status"], registry=registry
            ),
            refused=Counter(
                "ct_scan_refused", "Requests refused.", ["route", "reason"], registry=registry
            ),
            seconds=Histogram(
                "ct_scan_request_seconds",
                "From the request's head to the end of the answer.",
                ["route"],
                buckets=SECONDS,
                registry=registry,
            ),
            in_flight=Gauge(
                "ct_scan_requests_in_flight", "Requests not answered yet.", registry=registry
            ),
            predictions=Counter(
                "ct_scan_predictions", "Slices classified.", ["label"], registry=registry
            ),
            model_ready=Gauge("ct_scan_model_ready", "1 if a model is loaded.", registry=registry),
        )

    def count(self, path: str, status: int, seconds: float) -> None:
        route = path if path in ROUTES else "other"
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)
        if status in REFUSALS:
            self.refused.labels(route, HTTPStatus(status).phrase.lower()).inc()

    def text(self) -> bytes:
        return generate_latest(self.registry)


@dataclass(frozen=True, slots=True)
class Measured:
    """The outermost layer: sees each request come and its answer go."""

    app: ASGIApp
    _: KW_ONLY
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = HTTPStatus.INTERNAL_SERVER_ERROR.value

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = perf_counter()
        self.metrics.in_flight.inc()
        try:
            await self.app(scope, receive, watched)
        finally:
            self.metrics.in_flight.dec()
            self.metrics.count(scope["path"], status, perf_counter() - began)
