"""Models in gs:// and s3://, read by the real libraries from a service that answers as those do."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

from ct_scan_mlops.errors import LocationRefused
from ct_scan_mlops.serving.remote import remote_chunks, shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.workload.serving.conftest import Served, Storage

    Serve = Callable[..., AbstractContextManager[Served]]

needs_gcsfs = pytest.mark.skipif(
    importlib.util.find_spec("gcsfs") is None, reason="gcsfs is not installed"
)
needs_s3fs = pytest.mark.skipif(
    importlib.util.find_spec("aiobotocore") is None, reason="s3fs is not installed"
)


@needs_gcsfs
def test_a_dual_model_and_its_features_come_from_gs_also_when_they_come_late(
    serve: Serve, storage: tuple[Storage, str], tmp_path: Path, png: bytes
) -> None:
    service, url = storage
    late = service.objects.pop("models/dual.ckpt")
    places = {
        "MODEL_PATH": "gs://models/dual.ckpt",
        "FEATURES_PATH": "gs://models/features_top_features.json",
    }
    with serve(tmp_path, STORAGE_EMULATOR_HOST=url, **places) as served:
        (missing,) = served.wait_for(503)["missing"]
        assert (missing["variable"], missing["value"]) == ("MODEL_PATH", places["MODEL_PATH"])
        assert "no such object" in missing["error"].lower()
        service.objects["models/dual.ckpt"] = late
        ready = served.wait_for(200)
        assert ready["model"]["location"] == places["MODEL_PATH"]
        assert ready["features"]["location"] == places["FEATURES_PATH"]
        assert served.predict(png).json()["model"] == "dual_pathway"


@needs_s3fs
def test_a_model_comes_from_s3(
    serve: Serve, storage: tuple[Storage, str], tmp_path: Path, png: bytes
) -> None:
    _, url = storage
    environ = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "nowhere-1",
    }
    with serve(tmp_path, MODEL_PATH="s3://models/single.ckpt", **environ) as served:
        served.wait_for(200)
        assert served.predict(png).status_code == 200


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://models/single.ckpt", "Only gs://, s3:// and paths"),
        ("file:///etc/passwd", "Only gs://, s3:// and paths"),
        ("gs://models", "names no object"),
        ("gs:///single.ckpt", "names no object"),
        ("s3://models/", "names no object"),
    ],
)
def test_other_locations_are_refused(url: str, reason: str) -> None:
    with pytest.raises(LocationRefused, match=reason):
        list(remote_chunks(url, anonymous=True))


def test_what_may_be_a_password_is_not_shown() -> None:
    assert shown("s3://key:secret@bucket/a@b") == "s3://bucket/a@b"
    assert shown("/app/a@b") == "/app/a@b"
