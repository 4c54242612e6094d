"""The inference API as it is shipped, with models that the training image has made."""

from __future__ import annotations

import httpx
import pytest

from ci.trials.keeping import Kept, kept

SINGLE = {"MODEL_PATH": "/app/models/single.ckpt"}


@pytest.fixture(scope="session")
def service() -> Kept:
    return kept("api", 8000)


def test_the_image_starts_as_it_is() -> None:
    answer = httpx.get("http://plain:8000/health")
    assert answer.status_code == 200


def test_a_model_is_served(service: Kept) -> None:
    service.with_variables(SINGLE)
    service.until(lambda: service.get("/ready").status_code == 200)
