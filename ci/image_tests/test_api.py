"""The inference API as it is shipped, with models that the training image has made."""

from __future__ import annotations

import csv
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from ci.image_tests import hostile
from ci.image_tests.supervised import SupervisedService, load_result, supervise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

DATA = Path("/app/data")
MODELS = "/app/models"
FEATURES = f"{MODELS}/features_top_features.json"
SINGLE = {"MODEL_PATH": f"{MODELS}/single.ckpt"}
DUAL = {"MODEL_PATH": f"{MODELS}/dual.ckpt", "FEATURES_PATH": FEATURES}
MOST_HEALTH_SECONDS = 0.5
# On a machine that is busy with other work /health is late without any flood: so many times more.
TIMES_IDLE = 10
QUIET_SECONDS = 2.0
# What one admitted slice may take while it is decoded: 4096 x 4096 pixels of 4 bytes.
ONE_IMAGE = 64 << 20
REQUESTS = 1000
MEMORY = "process_resident_memory_bytes"
PROBE_SECONDS = 0.1
MB = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A slice of the data set."""

    path: Path
    label: str
    split: str


@dataclass(slots=True, kw_only=True)
class Watch:
    """What a second client sees while others ask: how long /health takes, and the memory."""

    health: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    def p99(self) -> float:
        return statistics.quantiles(self.health, n=100, method="inclusive")[98]


@pytest.fixture(scope="session")
def service() -> SupervisedService:
    return supervise("api", 8000)


@pytest.fixture(scope="session")
def rows() -> list[Row]:
    with (DATA / "labels.csv").open(newline="") as file:
        return [
            Row(path=DATA / row["path"], label=row["label"], split=row["split"])
            for row in csv.DictReader(file)
        ]


def test_the_image_starts_as_it_is() -> None:
    assert httpx.get("http://plain:8000/health").status_code == 200
    answer = httpx.get("http://plain:8000/ready")
    assert answer.status_code == 503
    assert "MODEL_PATH" in answer.json()["error"]


def test_outputs_of_the_checkout_are_not_in_the_image() -> None:
    assert load_result("image.json") == []


def test_outputs_would_be_found_in_an_image_that_copies_everything() -> None:
    assert "/app/outputs/checkpoints/planted.ckpt" in load_result("copied.json")


@pytest.mark.parametrize("variables", [SINGLE, DUAL], ids=["single", "dual"])
def test_a_trained_model_beats_the_baseline(
    service: SupervisedService,
    rows: list[Row],
    variables: Mapping[str, str],
    record_property: Callable[[str, str], None],
) -> None:
    ready(service, variables)
    held_out = [row for row in rows if row.split == "test"]
    with ThreadPoolExecutor(4) as pool:
        labels = list(pool.map(lambda row: predict(service, row.path), held_out))
    right = sum(label == row.label for label, row in zip(labels, held_out, strict=True))
    most_frequent = max(
        sum(row.label == label for row in held_out) for label in {row.label for row in held_out}
    )
    record_property("right", f"{right} of {len(held_out)}, baseline {most_frequent}")
    assert right > 1.2 * most_frequent


def test_a_missing_checkpoint_is_named(service: SupervisedService) -> None:
    service.with_variables({"MODEL_PATH": f"{MODELS}/absent.ckpt"})
    assert_not_ready(service, "MODEL_PATH", "absent.ckpt")


def test_missing_features_of_a_dual_model_are_named(service: SupervisedService) -> None:
    service.with_variables({"MODEL_PATH": DUAL["MODEL_PATH"]})
    assert_not_ready(service, "FEATURES_PATH", "FEATURES_PATH")
    service.with_variables({**DUAL, "FEATURES_PATH": "/app/features/features_top_features.json"})
    assert_not_ready(service, "FEATURES_PATH", "features_top_features.json")


def test_a_truncated_checkpoint_is_refused(service: SupervisedService) -> None:
    service.with_variables({"MODEL_PATH": f"{MODELS}/truncated.ckpt"})
    assert_not_ready(service, "MODEL_PATH", "truncated.ckpt")


HOSTILE = {
    "huge dicom": (hostile.dicom(60_000, 60_000), 413),
    "png bomb": (hostile.png_bomb(pixels=800_000_000, size=20_000), 413),
    "text": (b"not an image\n" * 100, 415),
    "half a png": (hostile.png(64, 64, compressed=b"\x78\x9c\x63"), 422),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_bounded_memory(service: SupervisedService, name: str) -> None:
    data, status = HOSTILE[name]
    ready(service, SINGLE)
    idle = service.metric(MEMORY)
    with watch_service(service) as watch:
        for _ in range(5):
            answer = service.post("/predict", files={"file": data})
            assert answer.status_code == status, answer.text
            assert answer.json()["error"]
    assert max(watch.memory) < 1.5 * idle + ONE_IMAGE


def test_a_thousand_requests_at_once_leave_it_alive(
    service: SupervisedService, rows: list[Row], record_property: Callable[[str, str], None]
) -> None:
    ready(service, SINGLE)
    data = rows[0].path.read_bytes()
    idle = service.metric(MEMORY)
    with watch_service(service) as quiet:
        time.sleep(QUIET_SECONDS)
    with watch_service(service) as watch:
        statuses = anyio.run(flood, service.url, data)
    record_property("statuses", str(statuses))
    record_property("p99 of /health", f"{watch.p99() * 1000:.0f} ms")
    record_property("memory", f"{idle / MB:.0f} MB idle, at most {max(watch.memory) / MB:.0f} MB")
    assert statuses.keys() <= {200, 429, 503}, statuses
    assert statuses[200] > 0
    assert max(watch.memory) < 1.5 * idle + ONE_IMAGE
    assert watch.p99() < max(MOST_HEALTH_SECONDS, TIMES_IDLE * quiet.p99())
    assert predict(service, rows[0].path)


def ready(service: SupervisedService, variables: Mapping[str, str]) -> None:
    service.with_variables(variables)
    service.until(lambda: service.get("/ready").status_code == 200)


def assert_not_ready(service: SupervisedService, variable: str, said: str) -> None:
    """It is alive, and says what it lacks; what is asked of it meanwhile gets the same status."""
    service.until(lambda: bool(service.get("/ready").json().get("missing")))
    answer = service.get("/ready")
    assert answer.status_code == 503
    (missing,) = answer.json()["missing"]
    assert missing["variable"] == variable
    assert said in f"{missing['value']} {missing['error']}"
    assert service.get("/health").status_code == 200
    assert service.post("/predict", files={"file": b"x"}).status_code == 503


def predict(service: SupervisedService, path: Path) -> str:
    answer = service.post("/predict", files={"file": path.read_bytes()})
    assert answer.status_code == 200, answer.text
    label: str = answer.json()["label"]
    return label


@contextmanager
def watch_service(service: SupervisedService) -> Iterator[Watch]:
    """Ask for its health and memory until the block ends."""
    watch, done = Watch(), threading.Event()

    def ask() -> None:
        while not done.wait(PROBE_SECONDS):
            began = time.monotonic()
            assert service.get("/health").status_code == 200
            watch.health.append(time.monotonic() - began)
            watch.memory.append(service.metric(MEMORY))

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            yield watch
        finally:
            time.sleep(2 * PROBE_SECONDS)
            done.set()
        asking.result()


async def flood(url: str, data: bytes) -> dict[int, int]:
    """Send all requests at once; how often each status was the answer."""
    statuses: dict[int, int] = {}
    limits = httpx.Limits(max_connections=REQUESTS)

    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=120.0) as client:

        async def ask() -> None:
            answer = await client.post("/predict", files={"file": data})
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1

        async with anyio.create_task_group() as tasks:
            for _ in range(REQUESTS):
                tasks.start_soon(ask)
    return statuses
