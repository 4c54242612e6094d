"""Runs recorded in MLflow. Imported only where MLFLOW_TRACKING_URI asks for it.

A store that does not answer ends a run before it starts. Later it does not: hours of training are
worth more than their record, and the same numbers are in outputs/logs/metrics.csv.
"""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Self

from lightning.pytorch import Callback, LightningModule, Trainer
from mlflow.entities import Metric, Param
from mlflow.environment_variables import (
    MLFLOW_ALLOW_FILE_STORE,
    MLFLOW_DISABLE_TELEMETRY,
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
)
from mlflow.exceptions import MlflowException
from mlflow.telemetry import set_telemetry_client
from mlflow.tracking import MlflowClient

from ct_scan_mlops.errors import SettingsInvalid

EXPERIMENT = "ct-scan"
RETRIES = 2


class Tracking(Callback):
    """One run of the experiment, and as a context its end: finished, or failed."""

    def __init__(self, tracking_uri: str, parameters: Mapping[str, object]) -> None:
        # It was set up when mlflow was imported, and would report each run to mlflow's makers.
        MLFLOW_DISABLE_TELEMETRY.set(True)  # type: ignore[no-untyped-call]
        set_telemetry_client()  # type: ignore[no-untyped-call]
        if not MLFLOW_HTTP_REQUEST_MAX_RETRIES.is_set():  # type: ignore[no-untyped-call]
            MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(RETRIES)  # type: ignore[no-untyped-call]
        # The user asked for files by the address; mlflow wants to be asked twice.
        if "://" not in tracking_uri or tracking_uri.startswith("file:"):
            MLFLOW_ALLOW_FILE_STORE.set(True)  # type: ignore[no-untyped-call]
        self._lost = False
        try:
            self._client = MlflowClient(tracking_uri=tracking_uri)
            self._run = self._start(parameters)
        except (MlflowException, OSError) as failure:
            message = (
                f"MLFLOW_TRACKING_URI={tracking_uri} does not take a run: {failure}. "
                "Correct it or start the server; unset it to train without tracking."
            )
            raise SettingsInvalid(message) from failure

    def _start(self, parameters: Mapping[str, object]) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        experiment = found.experiment_id if found else self._client.create_experiment(EXPERIMENT)
        run = str(self._client.create_run(experiment).info.run_id)
        params = [Param(name, str(value)) for name, value in parameters.items()]
        self._client.log_batch(run, params=params)
        return run

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._unless_lost():
            self._client.set_terminated(self._run, status="FAILED" if kind else "FINISHED")

    def on_train_epoch_end(self, trainer: Trainer, _: LightningModule) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.record(metrics, step=trainer.current_epoch + 1)

    def record(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Metrics after `step` epochs."""
        now = round(time.time() * 1000)
        entries = [Metric(name, value, now, step) for name, value in metrics.items()]
        with self._unless_lost():
            self._client.log_batch(self._run, metrics=entries)

    @contextmanager
    def _unless_lost(self) -> Iterator[None]:
        try:
            yield
        except (MlflowException, OSError) as failure:
            # Told once: a dead server would repeat itself each epoch.
            if not self._lost:
                sys.stderr.write(f"The run goes on without its record in MLflow: {failure}\n")
            self._lost = True
