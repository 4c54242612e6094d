"""The drift service as it is shipped: what it finds, and what it keeps."""

from __future__ import annotations

import json
import random
import secrets
import signal
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from ci.image_tests.supervised import SupervisedService, load_result, supervise

PORT = 8001
FEATURES = Path("/app/features/features_top_features.json")
REPORTS = "/app/outputs/reports"
SHIFT = 1.0
SEED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What the service compares with."""

    names: list[str]
    scale: list[float]
    rows: list[list[float]]

    def observations(self, *, shift: float) -> list[dict[str, dict[str, float]]]:
        """A third of the rows, with each feature moved by so many standard deviations."""
        return [
            {
                "features": {
                    name: value + shift * scale
                    for name, value, scale in zip(self.names, row, self.scale, strict=True)
                }
            }
            for row in random.Random(SEED).sample(self.rows, len(self.rows) // 3)
        ]


@pytest.fixture(scope="session")
def service() -> SupervisedService:
    return supervise("drift-api", PORT)


@pytest.fixture(scope="session")
def later() -> SupervisedService:
    """Another container with the same volume."""
    return supervise("later", PORT)


@pytest.fixture(scope="session")
def reference() -> Reference:
    document = json.loads(FEATURES.read_text())
    rows = list(document["rows"].values())
    return Reference(names=document["names"], scale=document["scale"], rows=rows)


def test_the_path_of_the_application_is_the_promised_one() -> None:
    assert httpx.get(f"http://by-path:{PORT}/health").status_code == 200


def test_the_path_that_it_never_had_is_an_error() -> None:
    wrong = load_result("wrong.json")
    assert wrong["status"] != 0
    assert "ct_scan_mlops.drift_api" in wrong["stderr"]


def test_the_same_data_are_no_drift(service: SupervisedService, reference: Reference) -> None:
    watching(service)
    post_observations(service, reference, shift=0.0)
    assert service.get("/drift").json()["state"] == "no drift"


def test_shifted_data_are_drift_and_survive_the_container(
    service: SupervisedService, later: SupervisedService, reference: Reference
) -> None:
    place = watching(service)
    post_observations(service, reference, shift=SHIFT)
    before = service.get("/drift").json()
    assert before["state"] == "drift"
    page = service.get("/report")
    assert page.headers["content-type"].startswith("text/html")
    assert "drift" in page.text.lower()
    service.end(number=signal.SIGKILL)
    watching(later, place)
    assert later.get("/drift").json() == before


def test_an_observation_without_a_feature_is_refused(service: SupervisedService) -> None:
    watching(service)
    assert service.post("/observations", json={"features": {}}).status_code == 422
    assert service.get("/drift").json()["state"] == "not enough yet"


def test_a_missing_reference_is_named(service: SupervisedService) -> None:
    service.start({"REFERENCE_PATH": "/app/features/absent.json"})
    service.until(lambda: bool(service.get("/ready").json().get("missing")))
    assert service.get("/ready").status_code == 503
    assert "absent.json" in service.get("/ready").text
    assert service.get("/health").status_code == 200


def watching(service: SupervisedService, place: str = "") -> str:
    """Start with a place for the state, a new one unless it is given; gives the place."""
    place = place or f"{REPORTS}/{secrets.token_hex(8)}"
    service.start({"STATE_DIR": place})
    service.until(lambda: service.get("/ready").status_code == 200)
    return place


def post_observations(service: SupervisedService, reference: Reference, *, shift: float) -> None:
    answer = service.post("/observations", json=reference.observations(shift=shift))
    assert answer.status_code == 200, answer.text
