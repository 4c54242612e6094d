"""What is said about a window: each feature, the embeddings, and both together.

A feature has drifted when a test is significant *and* its PSI is at least `psi_threshold`. Either
alone misleads: of a short window PSI is large by chance (at 50 observations it passes 0.1 on equal
data nearly always), and of a long one the tests are significant for a shift that matters to nobody.

There are two tests, as neither sees all: Kolmogorov-Smirnov is sharp for a shift, chi-squared over
the bins of PSI for a change of spread or shape. The smaller p value, doubled, is the feature's, and
Holm's correction is over all features.

There is drift overall when at least one feature has drifted or the embeddings have. Features and
embeddings get half of `alpha` each, so that on equal data a window is reported with a probability
of at most `alpha`, however many features there are and however they hang together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ct_scan_mlops.monitoring import statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ct_scan_mlops.monitoring.journal import Window
    from ct_scan_mlops.monitoring.reference import Reference

    Floats: TypeAlias = NDArray[np.float64]

# The permutation test takes the square of their number in memory.
MOST_EMBEDDINGS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What counts as drift, and from how many observations on anything is said."""

    alpha: float
    psi_threshold: float
    least: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """One feature in the reference and in the window."""

    psi: float
    psi_p_value: float
    ks: float
    ks_p_value: float
    p_adjusted: float
    drifted: bool
    reference_median: float
    window_median: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingDrift:
    """The model's embeddings, all components together."""

    mmd2: float
    p_value: float
    drifted: bool
    compared: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The comparison of one window; `features` is empty while there is not enough to compare."""

    received: int
    observations: int
    features: dict[str, FeatureDrift]
    embedding: EmbeddingDrift | None

    @property
    def enough(self) -> bool:
        return bool(self.features)

    @property
    def drifted_features(self) -> list[str]:
        return [name for name, feature in self.features.items() if feature.drifted]

    @property
    def drifted(self) -> bool:
        return bool(self.drifted_features) or (
            self.embedding is not None and self.embedding.drifted
        )


def compare(reference: Reference, window: Window, rule: Rule) -> Drift:
    enough = len(window.features) >= rule.least
    return Drift(
        received=window.received,
        observations=len(window.features),
        features=_features(reference, window.features, rule) if enough else {},
        embedding=_embeddings(reference, window, rule) if enough else None,
    )


def _features(reference: Reference, observed: Floats, rule: Rule) -> dict[str, FeatureDrift]:
    pairs = zip(reference.values.T, observed.T, strict=True)
    features = [_feature(before, now) for before, now in pairs]
    smaller = [min(feature.psi_p_value, feature.ks_p_value) for feature in features]
    adjusted = statistics.holm(np.minimum(2 * np.array(smaller), 1.0)).tolist()
    return {
        name: replace(
            feature,
            p_adjusted=p_value,
            drifted=p_value <= rule.alpha / 2 and feature.psi >= rule.psi_threshold,
        )
        for name, feature, p_value in zip(reference.names, features, adjusted, strict=True)
    }


def _feature(before: Floats, now: Floats) -> FeatureDrift:
    """One feature by itself: what depends on the others is not known yet."""
    bins = statistics.binned(before, now)
    ks, ks_p_value = statistics.kolmogorov_smirnov(before, now)
    return FeatureDrift(
        psi=statistics.psi(*bins),
        psi_p_value=statistics.chi_squared(*bins),
        ks=ks,
        ks_p_value=ks_p_value,
        p_adjusted=1.0,
        drifted=False,
        reference_median=_median(before),
        window_median=_median(now),
    )


def _median(values: Floats) -> float:
    # A mean of the two in the middle may be beyond the largest float.
    return float(np.quantile(values, 0.5, method="inverted_cdf"))


def _embeddings(reference: Reference, window: Window, rule: Rule) -> EmbeddingDrift | None:
    if reference.embeddings is None or len(window.embeddings) < rule.least:
        return None
    before = _spread(reference.embeddings)
    mmd2, p_value = statistics.maximum_mean_discrepancy(
        before, window.embeddings.astype(np.float64)
    )
    return EmbeddingDrift(
        mmd2=mmd2,
        p_value=p_value,
        drifted=p_value <= rule.alpha / 2,
        compared=len(window.embeddings),
    )


def _spread(rows: Floats) -> Floats:
    """Some of the rows, from all over the file: it is likely to be ordered by class."""
    if len(rows) <= MOST_EMBEDDINGS:
        return rows
    return rows[np.linspace(0, len(rows) - 1, MOST_EMBEDDINGS).astype(int)]
