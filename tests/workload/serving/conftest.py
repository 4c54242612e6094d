"""Real checkpoints and slices, and the service as users start it: a process, asked over HTTP."""

import os
import re
import signal
import socket
import subprocess  # noqa: TID251 - the workload runs where the tool, and its command.run, is not
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ct_scan_mlops.features.extraction import FEATURE_NAMES
from ct_scan_mlops.features.storage import FeatureSet, save
from ct_scan_mlops.models.description import ModelDescription

CLASSES = ("normal", "benign", "malignant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running service. `client` has a time limit, so that a hang is a failure."""

    process: subprocess.Popen[bytes]
    port: int
    client: httpx.Client

    def memory(self, which: str = "VmRSS") -> int:
        """In bytes; VmHWM is the most there ever was."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{which}:\s+(\d+) kB", text)
        assert found is not None
        return int(found[1]) * 1024

    def forget_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def wait_for(self, status: int, seconds: float = 60) -> dict[str, Any]:
        """What /ready says once it answers with this status."""
        deadline = time.monotonic() + seconds
        while True:
            response = self.client.get("/ready")
            document = response.json()
            if response.status_code == status and document.get("missing") != []:
                return dict(document)
            assert time.monotonic() < deadline, document
            time.sleep(0.05)

    def predict(self, data: bytes, **parameters: str) -> httpx.Response:
        return self.client.post("/predict", files={"file": data}, params=parameters)


@contextmanager
def _serve(root: Path, **environ: str) -> Iterator[Served]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}  # noqa: TID251
    fixed = {
        "PORT": str(port),
        "HOST": "127.0.0.1",
        "MODEL_ROOT": str(root),
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "ct_scan_mlops.serving"], env=inherited | fixed | environ
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            served = Served(process=process, port=port, client=client)
            _wait_until_live(served)
            yield served
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _wait_until_live(served: Served) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            assert served.client.get("/health").status_code == 200
        except httpx.TransportError:
            assert served.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return


@pytest.fixture
def serve() -> Callable[..., AbstractContextManager[Served]]:
    """A context manager: the service with these variables in its environment."""
    return _serve


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model root: single.ckpt, dual.ckpt and features_top_features.{json,pkl} for the latter."""
    root = tmp_path_factory.mktemp("models")
    names = tuple(FEATURE_NAMES[:8])
    zeros, ones = (0.0,) * len(names), (1.0,) * len(names)
    single = ModelDescription(kind="single", classes=CLASSES, image_size=64)
    dual = ModelDescription(
        kind="dual_pathway",
        classes=CLASSES,
        image_size=64,
        feature_names=names,
        feature_mean=zeros,
        feature_scale=ones,
    )
    for name, description in (("single", single), ("dual", dual)):
        torch.manual_seed(1)
        weights = {f"model.{key}": value for key, value in description.build().state_dict().items()}
        document = {"ct_scan_model": description.document(), "state_dict": weights}
        torch.save(document, root / f"{name}.ckpt")
    save(FeatureSet(names=names, mean=zeros, scale=ones, rows={}), root)
    save(FeatureSet(names=("other",), mean=(0.0,), scale=(1.0,), rows={}), root, "other")
    return root


@pytest.fixture(scope="module")
def single(models: Path) -> Iterator[Served]:
    with _serve(models, MODEL_PATH="single.ckpt") as served:
        served.wait_for(200)
        yield served


@pytest.fixture(scope="session")
def png() -> bytes:
    """A slice of the usual size that does not compress: what a real one is like to the service."""
    rng = np.random.default_rng(1)
    buffer = BytesIO()
    Image.fromarray(rng.integers(0, 255, (512, 512), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


class Storage:
    """What gcsfs and s3fs ask of a storage service to read objects, as the services answer it."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []

    def application(self) -> Starlette:
        metadata = "/storage/v1/b/{bucket}/o/{name:path}"
        return Starlette(
            routes=[
                Route("/storage/v1/b/{bucket}/o", self.listing),
                Route(metadata, self.metadata),
                Route("/download" + metadata, self.content),
                Route("/{bucket}/{name:path}", self.content, methods=["GET", "HEAD"]),
            ]
        )

    async def listing(self, _: Request) -> Response:
        return JSONResponse({"kind": "storage#objects"})

    async def metadata(self, request: Request) -> Response:
        if request.query_params.get("alt") == "media":
            return await self.content(request)
        key, data = self._object(request)
        if data is None:
            return JSONResponse({"error": {"code": 404, "message": "No such object"}}, 404)
        bucket, _, name = key.partition("/")
        return JSONResponse({"bucket": bucket, "name": name, "size": str(len(data))})

    async def content(self, request: Request) -> Response:
        key, data = self._object(request)
        if data is None:
            return Response(status_code=404)
        headers = {"etag": f'"{key}"', "last-modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
        if found is None:
            return Response(data, headers=headers, media_type="application/octet-stream")
        first, last = int(found[1]), min(int(found[2]), len(data) - 1)
        headers["content-range"] = f"bytes {first}-{last}/{len(data)}"
        return Response(data[first : last + 1], 206, headers)

    def _object(self, request: Request) -> tuple[str, bytes | None]:
        key = f"{request.path_params['bucket']}/{request.path_params['name']}"
        self.asked.append(key)
        return key, self.objects.get(key)


@contextmanager
def running(application: ASGIApp, http: type[H11Protocol] = H11Protocol) -> Iterator[str]:
    """The application behind a real port, in a thread; yields its URL."""
    server = uvicorn.Server(
        uvicorn.Config(application, log_level="error", http=http, loop="asyncio")
    )
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def run_application() -> Callable[..., AbstractContextManager[str]]:
    return running


@pytest.fixture
def storage(models: Path) -> Iterator[tuple[Storage, str]]:
    """A storage service with the models in the bucket `models`, and its URL."""
    service = Storage()
    service.objects = {f"models/{path.name}": path.read_bytes() for path in models.iterdir()}
    with running(service.application()) as url:
        yield service, url
