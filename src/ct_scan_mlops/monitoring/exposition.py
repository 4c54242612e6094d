"""The drift in Prometheus' text format, made anew from the comparison for each scrape.

Labels are the reference's feature names alone: no client can add a time series.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from ct_scan_mlops.monitoring.comparison import Drift, FeatureDrift


def exposition(drift: Drift | None) -> bytes:
    """All time series; of the service alone as long as there is nothing to compare."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Comparison(drift))
    return generate_latest(registry)


@dataclass(frozen=True, slots=True, eq=False)
class _Comparison(Collector):
    drift: Drift | None

    def collect(self) -> Iterator[Metric]:
        yield _gauge("ready", "1 if there is a reference and a window.", self.drift is not None)
        if self.drift is None:
            return
        received = "Observations since the window was begun."
        yield CounterMetricFamily("ct_scan_drift_observations", received, self.drift.received)
        held = self.drift.observations
        yield _gauge("window_observations", "Observations in the window.", held)
        if not self.drift.enough:
            return
        yield _gauge("detected", "1 if there is drift overall.", self.drift.drifted)
        yield from _of_features(self.drift.features)
        if self.drift.embedding is not None:
            yield _gauge("embedding_mmd2", "Squared MMD.", self.drift.embedding.mmd2)
            yield _gauge("embedding_p_value", "Of MMD.", self.drift.embedding.p_value)


def _gauge(name: str, says: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"ct_scan_drift_{name}", says, float(value))


def _of_features(features: dict[str, FeatureDrift]) -> Iterator[Metric]:
    psi = GaugeMetricFamily("ct_scan_drift_feature_psi", "PSI.", labels=["feature"])
    p_value = GaugeMetricFamily(
        "ct_scan_drift_feature_p_adjusted", "p value of both tests, by Holm.", labels=["feature"]
    )
    drifted = GaugeMetricFamily(
        "ct_scan_drift_feature_drifted", "1 if it has drifted.", labels=["feature"]
    )
    for name, feature in features.items():
        psi.add_metric([name], feature.psi)
        p_value.add_metric([name], feature.p_adjusted)
        drifted.add_metric([name], float(feature.drifted))
    yield from (psi, p_value, drifted)
