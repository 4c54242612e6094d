"""The routes and the layers around them, made from settings: nothing is read from anywhere else.

From the outside in: what is counted, how much of a body is read, how many uploads are taken in, and
then the route. A route only looks at states and hands blocking work to a bounded number of threads,
so that /health answers at once whatever else goes on.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from ct_scan_mlops.serving.connections import REFUSED_UNREAD
from ct_scan_mlops.serving.loading import Loading
from ct_scan_mlops.serving.metrics import Measured, Metrics
from ct_scan_mlops.serving.refusals import answer_refused_slices
from ct_scan_mlops.serving.states import Ready, Waiting
from ct_scan_mlops.serving.uploads import DOCUMENTED_BODY, PREDICT, read_file
from ct_scan_mlops.settings import ServingSettings
from ct_scan_mlops.web.admission import Admission, AdmittedUploads, Capacity
from ct_scan_mlops.web.bodies import BoundedBodies
from ct_scan_mlops.web.problems import NotReady, answer_problems

BODY_SECONDS = 20.0
# What multipart adds around the file.
FORM_BYTES = 64 * 1024
# The most that all uploads together hold: with it, a flood adds less than half of what torch takes.
UPLOAD_BYTES = 48 * 1024 * 1024
RETRY_AFTER_SECONDS = 5
SMALLER = "Send one slice as a file below that size. MAX_UPLOAD_MB sets it where the API runs."
CHANGED = "A file changed since the model was loaded. Restart to serve what is there now."


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What one application has, and its routes."""

    loading: Loading
    metrics: Metrics
    predictions: CapacityLimiter

    @asynccontextmanager
    async def running(self, _: FastAPI) -> AsyncIterator[dict[str, object]]:
        self.loading.start()
        try:
            yield {REFUSED_UNREAD: lambda: self.metrics.count(PREDICT, 503, 0.0)}
        finally:
            self.loading.stop()

    async def health(self) -> Response:
        """Whether the process is alive."""
        return JSONResponse({"status": "live"})

    async def ready(self) -> Response:
        """Whether there is a model to answer with, which, and what is missing if not."""
        match self.loading.state:
            case Ready() as state:
                return JSONResponse(_described(state))
            case Waiting() as state:
                return JSONResponse(
                    _missing(state), 503, headers={"retry-after": str(RETRY_AFTER_SECONDS)}
                )

    async def predict(self, request: Request, *, details: bool = False) -> Response:
        """Classify one slice, PNG or DICOM; `details` adds its features and its embedding."""
        state = self.loading.state
        if isinstance(state, Waiting):
            raise NotReady(_why(state), "See /ready.", retry_after=RETRY_AFTER_SECONDS)
        data = await read_file(request.headers.get("content-type", ""), request.stream())
        answer = await to_thread.run_sync(
            lambda: state.inference.classify(data, details=details), limiter=self.predictions
        )
        self.metrics.predictions.labels(answer["label"]).inc()
        return JSONResponse(answer)

    async def counted(self) -> Response:
        """Prometheus' text format."""
        return Response(self.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def create_app(settings: ServingSettings) -> FastAPI:
    metrics = Metrics.new()
    serving = Serving(
        loading=Loading(settings=settings, on_ready=lambda: metrics.model_ready.set(1)),
        metrics=metrics,
        predictions=CapacityLimiter(settings.prediction_threads),
    )
    app = FastAPI(title="CT slices", lifespan=serving.running, docs_url=None, redoc_url=None)
    answer_problems(app)
    answer_refused_slices(app)
    app.add_api_route("/health", serving.health)
    app.add_api_route("/ready", serving.ready)
    app.add_api_route("/metrics", serving.counted)
    app.add_api_route(PREDICT, serving.predict, methods=["POST"], openapi_extra=DOCUMENTED_BODY)
    _add_layers(app, settings, metrics)
    return app


def _add_layers(app: FastAPI, settings: ServingSettings, metrics: Metrics) -> None:
    """The one added last is the outermost."""
    most = settings.max_upload_bytes + FORM_BYTES
    capacity = Capacity(upload_bytes=max(most, UPLOAD_BYTES))
    admission = Admission(capacity=capacity)
    app.add_middleware(AdmittedUploads, path=PREDICT, admission=admission, most_bytes=most)
    app.add_middleware(BoundedBodies, most_bytes=most, seconds=BODY_SECONDS, smaller=SMALLER)
    app.add_middleware(Measured, metrics=metrics)


def _described(state: Ready) -> dict[str, object]:
    classifier = state.inference.classifier
    return {
        "ready": True,
        "model": {
            "kind": classifier.kind,
            "classes": classifier.classes,
            "image_size": classifier.image_size,
            "sha256": state.digest,
            "location": state.location,
        },
        "features": {
            "needed": classifier.feature_names,
            "present": True,
            "location": state.features_location,
        },
        "seconds to load": round(state.seconds, 3),
        "note": CHANGED if state.changed else None,
    }


def _missing(state: Waiting) -> dict[str, object]:
    wait = "Ask again in a moment."
    return {
        "ready": False,
        "error": _why(state),
        "what next": "Do what `missing` says of each variable." if state.missing else wait,
        "missing": [asdict(item) for item in state.missing],
        "attempts": state.attempts,
    }


def _why(state: Waiting) -> str:
    return " ".join(item.error for item in state.missing) or "The model is being loaded."
