"""What MLflow gets to know, in a store of files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ct_scan_mlops.errors import SettingsInvalid
from ct_scan_mlops.training.tracking import EXPERIMENT, Tracking

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture
def store(tmp_path: Path) -> str:
    return (tmp_path / "runs").as_uri()


@pytest.fixture
def recorded(store: str) -> Callable[[], Run]:
    """The one run in the store."""

    def read() -> Run:
        from mlflow.tracking import MlflowClient

        client: MlflowClient = MlflowClient(tracking_uri=store)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        assert experiment is not None
        (run,) = client.search_runs([experiment.experiment_id])
        return run

    return read


def test_a_run_is_recorded_where_the_environment_says(
    store: str,
    recorded: Callable[[], Run],
    command: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)

    assert command().code == 0

    run = recorded()
    assert run.info.status == "FINISHED"
    assert run.data.params["model"] == "single"
    assert run.data.params["seed"] == "7"
    assert {"train_loss", "validation_accuracy", "test_accuracy", "baseline"} <= set(
        run.data.metrics
    )


def test_a_run_that_fails_is_recorded_as_that(store: str, recorded: Callable[[], Run]) -> None:
    with pytest.raises(ZeroDivisionError), Tracking(store, {"seed": 1}):
        raise ZeroDivisionError

    assert recorded().info.status == "FAILED"


def test_a_store_that_cannot_be_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SettingsInvalid, match="unset it to train without"):
        Tracking((tmp_path / "file" / "runs").as_uri(), {})


def test_a_store_that_goes_away_is_told_once(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Tracking(store, {"seed": 1}) as tracking:
        (run,) = (tmp_path / "runs").glob("[1-9]*/*/")
        run.rename(tmp_path / "gone")
        tracking.record({"loss": 1.0}, step=1)
        tracking.record({"loss": 0.5}, step=2)

    assert capsys.readouterr().err.count("goes on without its record in MLflow") == 1
