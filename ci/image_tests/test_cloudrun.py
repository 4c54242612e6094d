"""The image for Cloud Run, held as strictly as a host may hold it."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import pytest

from ci.image_tests.supervised import SupervisedService, supervise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PORT = 8080
OTHER_PORT = 9123
GRACE_SECONDS = 10.0
# The host gives up on an instance after this time; on a core of its own it takes the other one.
COLD_SECONDS = 240.0
COLD_CORE_SECONDS = 20.0
STORAGE = {"STORAGE_EMULATOR_HOST": "http://storage:4443"}
SINGLE = {**STORAGE, "MODEL_PATH": "gs://models/single.ckpt"}


@pytest.fixture(scope="session")
def service() -> SupervisedService:
    return supervise("api", PORT)


def test_the_cold_start_with_a_model_from_a_bucket_is_short(
    service: SupervisedService, record_property: Callable[[str, str], None]
) -> None:
    began = time.monotonic()
    service.start(SINGLE)
    service.until(lambda: service.get("/ready").status_code == 200)
    seconds, core = time.monotonic() - began, service.metric("process_cpu_seconds_total")
    record_property("cold start", f"{seconds:.1f} s, {core:.1f} s of a core")
    assert service.get("/ready").json()["model"]["location"] == SINGLE["MODEL_PATH"]
    assert seconds < COLD_SECONDS
    assert core < COLD_CORE_SECONDS


def test_a_dual_model_and_its_features_come_from_a_bucket(service: SupervisedService) -> None:
    features = "gs://models/features_top_features.json"
    service.start({**STORAGE, "MODEL_PATH": "gs://models/dual.ckpt", "FEATURES_PATH": features})
    service.until(lambda: service.get("/ready").status_code == 200)
    assert service.get("/ready").json()["features"]["present"]


def test_an_object_that_is_not_there_is_named(service: SupervisedService) -> None:
    service.start({**STORAGE, "MODEL_PATH": "gs://models/absent.ckpt"})
    service.until(lambda: bool(service.get("/ready").json().get("missing")))
    (missing,) = service.get("/ready").json()["missing"]
    assert missing["value"] == "gs://models/absent.ckpt"
    assert "no such object" in missing["error"]


def test_it_listens_where_the_host_says(service: SupervisedService) -> None:
    service.start({"PORT": str(OTHER_PORT)}, port=OTHER_PORT)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{service.host}:{PORT}/health")
    service.start({}, port=PORT)


def test_it_is_no_root_and_cannot_write_to_its_root(service: SupervisedService) -> None:
    service.with_variables({})
    process = service.process()
    assert process["uid"] != 0
    assert process["capabilities"] == 0
    assert process["first"]
    assert process["read-only root"]


def test_it_ends_in_time_when_it_is_told_to(service: SupervisedService) -> None:
    service.start(SINGLE)
    service.until(lambda: service.get("/ready").status_code == 200)
    ending = service.end(seconds=GRACE_SECONDS)
    assert ending.status == 0
    assert ending.seconds < GRACE_SECONDS


def test_it_ends_in_time_though_a_client_is_slow(service: SupervisedService) -> None:
    service.start(SINGLE)
    service.until(lambda: service.get("/ready").status_code == 200)
    ended = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield b"--x\r\n"
        ended.wait(3 * GRACE_SECONDS)

    def send() -> None:
        headers = {"content-type": "multipart/form-data; boundary=x"}
        with suppress(httpx.TransportError):
            service.post("/predict", content=slowly(), headers=headers)

    client = threading.Thread(target=send, daemon=True)
    client.start()
    service.until(lambda: "in_flight 2" in service.get("/metrics").text)
    ending = service.end(seconds=GRACE_SECONDS)
    ended.set()
    assert ending.status is not None
    assert ending.seconds < GRACE_SECONDS
