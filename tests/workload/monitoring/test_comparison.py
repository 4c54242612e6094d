"""Drift is found where there is one, and on equal data as rarely as promised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from ct_scan_mlops.monitoring.comparison import Drift, Rule, compare
from ct_scan_mlops.monitoring.journal import Window
from ct_scan_mlops.monitoring.reference import Reference

if TYPE_CHECKING:
    from numpy.typing import NDArray


FEATURES = 8
WIDTH = 8
RULE = Rule(alpha=0.01, psi_threshold=0.1, least=50)


def reference_of(values: NDArray[np.float64], *, width: int = 0) -> Reference:
    return Reference(
        names=tuple(f"f{number}" for number in range(values.shape[1] - width)),
        values=values[:, : values.shape[1] - width],
        embeddings=values[:, values.shape[1] - width :] if width else None,
        identity="test",
    )


def window_of(values: NDArray[np.float64], *, width: int = 0) -> Window:
    split = values.shape[1] - width
    embeddings = values[:, split:].astype(np.float32)
    return Window(received=len(values), features=values[:, :split], embeddings=embeddings)


def drift_of_equal_data(seed: int, *, observations: int) -> Drift:
    rng = np.random.default_rng(seed)
    columns = FEATURES + WIDTH
    reference = reference_of(rng.normal(size=(200, columns)), width=WIDTH)
    window = window_of(rng.normal(size=(observations, columns)), width=WIDTH)
    return compare(reference, window, RULE)


@pytest.mark.parametrize("observations", [50, 150])
def test_equal_data_is_reported_as_rarely_as_alpha_says(observations: int) -> None:
    seeds = 120
    drifts = [drift_of_equal_data(seed, observations=observations) for seed in range(seeds)]
    alarms = sum(drift.drifted for drift in drifts)
    # Of 120 windows at 0.01 each, 6 or more come in one of a thousand runs.
    assert alarms < 6
    # Without the correction there would be many, so this test can fail.
    uncorrected = sum(
        min(feature.ks_p_value for feature in drift.features.values()) <= RULE.alpha
        for drift in drifts
    )
    assert uncorrected >= 6


def test_psi_alone_would_report_nearly_every_short_window() -> None:
    drifts = [drift_of_equal_data(seed, observations=50) for seed in range(20)]
    over = [
        any(feature.psi >= RULE.psi_threshold for feature in drift.features.values())
        for drift in drifts
    ]
    assert np.mean(over) > 0.9


def test_a_test_alone_would_report_what_matters_to_nobody() -> None:
    rng = np.random.default_rng(0)
    reference = reference_of(rng.normal(size=(20_000, 1)))
    drift = compare(reference, window_of(rng.normal(0.06, 1, size=(10_000, 1))), RULE)
    assert drift.features["f0"].p_adjusted < RULE.alpha / 2
    assert not drift.drifted


@pytest.mark.parametrize(
    ("shift", "scale"), [(0.8, 1.0), (-0.8, 1.0), (0.0, 2.0)], ids=["up", "down", "wider"]
)
def test_a_drift_of_one_feature_is_found_in_every_window(shift: float, scale: float) -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        values = rng.normal(size=(200, FEATURES))
        values[:, 3] = values[:, 3] * scale + shift
        drift = compare(reference_of(rng.normal(size=(400, FEATURES))), window_of(values), RULE)
        assert drift.drifted_features == ["f3"]


def test_a_drift_of_the_embeddings_alone_is_found() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(100, FEATURES + WIDTH))
    values[:, FEATURES:] += 0.5
    reference = reference_of(rng.normal(size=(400, FEATURES + WIDTH)), width=WIDTH)
    drift = compare(reference, window_of(values, width=WIDTH), RULE)
    assert drift.embedding is not None
    assert drift.embedding.drifted
    assert drift.drifted
    assert drift.drifted_features == []


def test_too_few_observations_are_not_compared() -> None:
    drift = drift_of_equal_data(0, observations=RULE.least - 1)
    assert not drift.enough
    assert drift.embedding is None
    assert not drift.drifted


def test_too_few_embeddings_are_not_compared() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(60, FEATURES + WIDTH))
    window = Window(
        received=60,
        features=values[:, :FEATURES],
        embeddings=values[:10, FEATURES:].astype(np.float32),
    )
    reference = reference_of(rng.normal(size=(400, FEATURES + WIDTH)), width=WIDTH)
    drift = compare(reference, window, RULE)
    assert drift.enough
    assert drift.embedding is None


@pytest.mark.parametrize("value", [0.0, 1e9, -1e308, 5e-324])
def test_whatever_is_constant_gives_finite_numbers(value: float) -> None:
    rng = np.random.default_rng(1)
    ordinary = reference_of(rng.normal(size=(100, 2)))
    constant = np.full((60, 2), value)
    for reference in (ordinary, reference_of(constant)):
        for feature in compare(reference, window_of(constant), RULE).features.values():
            numbers = [feature.psi, feature.psi_p_value, feature.ks, feature.ks_p_value]
            numbers += [feature.p_adjusted, feature.reference_median, feature.window_median]
            assert np.isfinite(numbers).all()


def test_long_references_are_sampled_for_the_embeddings() -> None:
    rng = np.random.default_rng(1)
    # Ordered by class: the first thousand rows alone would look like drift.
    rows = np.sort(rng.normal(size=(3000, 1 + 1)), axis=0)
    picked = rows[rng.choice(len(rows), 200, replace=False)]
    drift = compare(reference_of(rows, width=1), window_of(picked, width=1), RULE)
    assert drift.embedding is not None
    assert not drift.embedding.drifted
