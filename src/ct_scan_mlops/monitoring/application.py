"""The routes of the drift API and the layers around them, made from settings.

A route looks at the state and hands what blocks to a bounded number of threads: two that keep
observations, one that compares. What many ask for at once is computed once.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import anyio
from anyio import BrokenWorkerProcess, CapacityLimiter, to_thread
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from ct_scan_mlops.errors import ObservationsInvalid, OutputUnwritable
from ct_scan_mlops.monitoring import observations, report
from ct_scan_mlops.monitoring.comparison import MOST_EMBEDDINGS, Drift, Rule, compare
from ct_scan_mlops.monitoring.exposition import exposition
from ct_scan_mlops.monitoring.loading import Loading, Waiting, Watching
from ct_scan_mlops.web.admission import Admission, Capacity
from ct_scan_mlops.web.bodies import BoundedBodies
from ct_scan_mlops.web.problems import (
    MediaTypeRefused,
    NotReady,
    Overloaded,
    answer_problems,
    problem_response,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from ct_scan_mlops.monitoring.journal import Window
    from ct_scan_mlops.settings import DriftSettings
    from ct_scan_mlops.web.missing import Missing

OBSERVATIONS = "/observations"
BODY_BYTES = 2 * 1024 * 1024
BODY_SECONDS = 20.0
SMALLER = "Send fewer observations at once."
PLACES = 8
CAPACITY = Capacity(places=PLACES, upload_bytes=PLACES * BODY_BYTES, waiting=256, wait_seconds=5.0)
RETRY_AFTER_SECONDS = 5
# For how long /ready tells of observations that could not be kept.
TROUBLE_SECONDS = 30.0
NO_STORE = {"cache-control": "no-store"}


@dataclass(slots=True, kw_only=True, eq=False)
class Monitoring:
    """What one application has, and its routes."""

    settings: DriftSettings
    loading: Loading
    reports: report.Reports = field(default_factory=report.Reports)
    admission: Admission = field(default_factory=lambda: Admission(capacity=CAPACITY))
    trouble: tuple[float, OutputUnwritable] | None = None
    _keeping: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(2))
    _comparing: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))
    _latest: tuple[Window, Drift] | None = None

    @asynccontextmanager
    async def running(self, _: FastAPI) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.loading.run)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()
        self.loading.close()

    async def health(self) -> Response:
        """Whether the process is alive."""
        return JSONResponse({"status": "live"})

    async def ready(self) -> Response:
        """Whether there is a reference and a place for the window, and what is missing if not."""
        state = self.loading.state
        missing = [*state.missing] if isinstance(state, Waiting) else [*self._recent_trouble()]
        if isinstance(state, Waiting) or missing:
            retry = {"retry-after": str(RETRY_AFTER_SECONDS)}
            return JSONResponse(_not_ready(missing), HTTPStatus.SERVICE_UNAVAILABLE, retry)
        return JSONResponse(_ready(state, self.settings))

    async def observe(self, request: Request) -> Response:
        """Keep one observation, or a list of them; the answer comes when they are durable."""
        state = self._watching()
        media_type, _, _ = request.headers.get("content-type", "").partition(";")
        if media_type.strip().lower() != "application/json":
            error = "The body is not application/json."
            raise MediaTypeRefused(error, "Send JSON, with that content-type.")
        async with self.admission.place(BODY_BYTES):
            body = await request.body()
            count, received = await to_thread.run_sync(_keep, state, body, limiter=self._keeping)
        return JSONResponse({"accepted": count, "received": received})

    async def drift(self) -> Response:
        """How the window differs from the reference, or that there is not enough in it yet."""
        _, drift = await self._compare()
        return JSONResponse(_described(drift, self._watching(), self.settings), headers=NO_STORE)

    async def page(self) -> Response:
        """The same for people, with charts: one page that needs nothing from elsewhere."""
        window, drift = await self._compare()
        headers = {
            **NO_STORE,
            "content-security-policy": report.CONTENT_SECURITY_POLICY,
            "x-content-type-options": "nosniff",
        }
        if not drift.enough:
            page = report.not_enough(drift, self.settings.least_observations)
            return HTMLResponse(page, headers=headers)
        try:
            made = await self.reports.page(self._watching().reference, window, drift)
        except (TimeoutError, BrokenWorkerProcess) as failure:
            error = "The report could not be made in time."
            what_next = "Try again later; /drift has its numbers."
            raise Overloaded(error, what_next, retry_after=RETRY_AFTER_SECONDS) from failure
        return HTMLResponse(made, headers=headers)

    async def metrics(self) -> Response:
        """Prometheus' text format."""
        drift = None
        if isinstance(self.loading.state, Watching):
            _, drift = await self._compare()
        return Response(exposition(drift), media_type=CONTENT_TYPE_LATEST)

    async def unwritable(self, _: Request, problem: Exception) -> Response:
        """Answers what the journal could not do, without the path that /ready names."""
        assert isinstance(problem, OutputUnwritable)
        self.trouble = (anyio.current_time(), problem)
        error = "The window's file cannot be used. Nothing of this request was kept."
        return NotReady(error, "See /ready.", retry_after=RETRY_AFTER_SECONDS).response()

    def _watching(self) -> Watching:
        state = self.loading.state
        if isinstance(state, Waiting):
            error = "There is nothing to compare with yet."
            raise NotReady(error, "See /ready.", retry_after=RETRY_AFTER_SECONDS)
        return state

    def _recent_trouble(self) -> Iterator[Missing]:
        if self.trouble is not None:
            when, problem = self.trouble
            if anyio.current_time() < when + TROUBLE_SECONDS:
                yield self.loading.unwritable(problem)

    async def _compare(self) -> tuple[Window, Drift]:
        state = self._watching()
        return await to_thread.run_sync(self._compared, state, limiter=self._comparing)

    def _compared(self, state: Watching) -> tuple[Window, Drift]:
        """The last comparison as long as nothing came since; the limiter lets in one at a time."""
        if self._latest is None or self._latest[1].received != state.journal.received():
            window = state.journal.window(embeddings=MOST_EMBEDDINGS)
            self._latest = window, compare(state.reference, window, _rule(self.settings))
        return self._latest


def create_app(settings: DriftSettings) -> FastAPI:
    monitoring = Monitoring(settings=settings, loading=Loading(settings=settings))
    app = FastAPI(title="Drift", lifespan=monitoring.running, docs_url=None, redoc_url=None)
    answer_problems(app)
    app.add_exception_handler(OutputUnwritable, monitoring.unwritable)
    app.add_exception_handler(ObservationsInvalid, _invalid)
    app.add_api_route("/health", monitoring.health)
    app.add_api_route("/ready", monitoring.ready)
    app.add_api_route(
        OBSERVATIONS, monitoring.observe, methods=["POST"], openapi_extra=observations.DOCUMENTED
    )
    app.add_api_route("/drift", monitoring.drift)
    app.add_api_route("/report", monitoring.page, response_class=HTMLResponse)
    app.add_api_route("/metrics", monitoring.metrics)
    app.add_middleware(BoundedBodies, most_bytes=BODY_BYTES, seconds=BODY_SECONDS, smaller=SMALLER)
    return app


def _keep(state: Watching, body: bytes) -> tuple[int, int]:
    try:
        parsed = observations.parse(body, state.reference)
    except ObservationsInvalid as problem:
        # Its traceback holds all that was parsed for as long as the answer takes.
        raise problem.with_traceback(None) from None
    return len(parsed), state.journal.append(parsed)


async def _invalid(_: Request, problem: Exception) -> Response:
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    return problem_response(status, str(problem), "Nothing of it was kept.")


def _rule(settings: DriftSettings) -> Rule:
    return Rule(
        alpha=settings.alpha,
        psi_threshold=settings.psi_threshold,
        least=settings.least_observations,
    )


def _not_ready(missing: list[Missing]) -> dict[str, Any]:
    what_next = "See each of what is missing." if missing else "Ask again in a moment."
    error = " ".join(item.error for item in missing) or "The reference is being loaded."
    return {
        "ready": False,
        "error": error,
        "what next": what_next,
        "missing": [asdict(item) for item in missing],
    }


def _ready(state: Watching, settings: DriftSettings) -> dict[str, Any]:
    return {
        "ready": True,
        "reference": _reference(state),
        "window": settings.window,
        "note": state.journal.notice,
    }


def _reference(state: Watching) -> dict[str, Any]:
    return {
        "id": state.reference.identity,
        "rows": len(state.reference.values),
        "features": state.reference.names,
        "embedding": state.reference.embedding_width,
    }


def _described(drift: Drift, state: Watching, settings: DriftSettings) -> dict[str, Any]:
    rule = _rule(settings)
    return {
        "state": ("drift" if drift.drifted else "no drift") if drift.enough else "not enough yet",
        "observations": {
            "window": drift.observations,
            "most": settings.window,
            "needed": rule.least,
            "received": drift.received,
        },
        "overall": _overall(drift, rule) if drift.enough else None,
        "features": {name: asdict(feature) for name, feature in drift.features.items()},
        "embedding": asdict(drift.embedding) if drift.embedding else None,
        "reference": {**_reference(state), "features": len(state.reference.names)},
    }


def _overall(drift: Drift, rule: Rule) -> dict[str, Any]:
    return {
        "drifted": drift.drifted,
        "drifted features": drift.drifted_features,
        "share": len(drift.drifted_features) / len(drift.features),
        "embedding drifted": drift.embedding.drifted if drift.embedding else None,
        "rule": asdict(rule),
    }
