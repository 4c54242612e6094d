"""The environment is read strictly: what cannot be meant is refused by name, value and remedy."""

from pathlib import Path

import pytest

from ct_scan_mlops.errors import SettingsInvalid
from ct_scan_mlops.settings import DriftSettings, ServingSettings, TrackingSettings


def test_nothing_set_and_everything_empty_are_the_defaults() -> None:
    names = ("MODEL_PATH", "FEATURES_PATH", "MODEL_ROOT", "HOST", "PORT", "MAX_UPLOAD_MB")
    assert ServingSettings.from_environ({}) == ServingSettings()
    assert ServingSettings.from_environ(dict.fromkeys(names, "")) == ServingSettings()
    assert DriftSettings.from_environ({}) == DriftSettings()
    assert TrackingSettings.from_environ({"MLFLOW_TRACKING_URI": ""}) == TrackingSettings()


def test_what_is_set_is_taken() -> None:
    found = ServingSettings.from_environ(
        {
            "MODEL_PATH": "gs://bucket/best.ckpt",
            "FEATURES_PATH": "/data/features.json",
            "MODEL_ROOT": "/models",
            "PORT": "9000",
            "HOST": "127.0.0.1",
            "MAX_UPLOAD_MB": "3",
        }
    )
    assert found.model_path == "gs://bucket/best.ckpt"
    assert found.features_path == "/data/features.json"
    assert (found.model_root, found.port, found.host) == (Path("/models"), 9000, "127.0.0.1")
    assert found.max_upload_bytes == 3 * 1024 * 1024
    assert DriftSettings.from_environ({"STATE_DIR": "/state"}).state_dir == Path("/state")


@pytest.mark.parametrize(
    "value", ["0", "65536", "-1", "8_0", "80.0", " 80", "0x50", "eight", "٨٠", "9" * 5000]
)
def test_a_port_that_is_none_is_refused_with_an_example(value: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"PORT is .* Write for example PORT=80"):
        ServingSettings.from_environ({"PORT": value})


@pytest.mark.parametrize("value", ["models", "./models", "/a\0b"])
def test_a_directory_is_an_absolute_path(value: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"MODEL_ROOT is .*no absolute path"):
        ServingSettings.from_environ({"MODEL_ROOT": value})
