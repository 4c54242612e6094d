"""How far two samples lie apart: PSI and Kolmogorov-Smirnov for a feature, MMD for embeddings.

Theirs: scipy's `ks_2samp`, which is also evidently's KS test, its chi-squared test, and evidently's
report (report.py).
Ours, each for a reason that a test shows:

* PSI. evidently divides the range of both samples into equal widths, so one value of 10^9 puts all
  others into one bin and the drift is gone. Here the bins are the reference's deciles, as PSI was
  introduced; a value that fills a decile alone (a constant feature, say) has a bin of its own.
* MMD of embeddings. evidently compares with the 5th percentile of its bootstrap, and so reports
  drift on equal samples nearly always. Here the p value is of a permutation test, which is exact.
* Holm's correction: eight lines, for which statsmodels would be loaded.

Every result is finite for finite input, and does not depend on the order of the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

BINS = 10
PERMUTATIONS = 999
EXACT_ROWS = 1000
# What an empty bin counts as, of an observation: the logarithm stays finite.
EMPTY = 0.5


def binned(reference: Floats, observed: Floats) -> tuple[Floats, Floats]:
    """How many of each sample are in each bin; a bin that neither has anything in is left out."""
    edges = _edges(reference)
    before, now = (
        np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1).astype(np.float64)
        for values in (reference, observed)
    )
    used = before + now > 0
    return before[used], now[used]


def _edges(reference: Floats) -> Floats:
    """The upper ends, inclusive, of all bins but the last, which has none."""
    shares = np.linspace(0, 1, BINS + 1)[1:-1]
    cuts = np.quantile(reference, shares, method="inverted_cdf")
    repeated = cuts[1:][cuts[1:] == cuts[:-1]]
    return np.unique(np.concatenate([cuts, np.nextafter(repeated, -np.inf)]))


def psi(before: Floats, now: Floats) -> float:
    """The population stability index of binned samples: 0 if they agree, 0.1 some, 0.25 much."""
    share_before = np.maximum(before, EMPTY) / before.sum()
    share_now = np.maximum(now, EMPTY) / now.sum()
    return float(np.sum((share_now - share_before) * np.log(share_now / share_before)))


def chi_squared(before: Floats, now: Floats) -> float:
    """The p value of binned samples being of one distribution."""
    # See load().
    from scipy.stats import chi2_contingency

    return float(chi2_contingency(np.stack([before, now]), correction=False).pvalue)


def load() -> None:
    """Import scipy's tests, which takes two seconds, before they are asked for."""
    import scipy.stats  # noqa: F401


def kolmogorov_smirnov(reference: Floats, observed: Floats) -> tuple[float, float]:
    """The largest distance of the distribution functions, and its p value."""
    # See load().
    from scipy.stats import ks_2samp

    # With more rows scipy may give up on exact values, and then warns.
    method = "exact" if max(len(reference), len(observed)) <= EXACT_ROWS else "asymp"
    result = ks_2samp(reference, observed, method=method)
    return float(result.statistic), float(result.pvalue)


def holm(p_values: Floats) -> Floats:
    """Adjusted p values: the chance that any of them is at most `alpha` by chance is `alpha`."""
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted


def maximum_mean_discrepancy(reference: Floats, observed: Floats) -> tuple[float, float]:
    """The squared MMD with a Gaussian kernel of the median's width, and its permutation p value."""
    both = np.concatenate([_in_one_order(reference), _in_one_order(observed)])
    kernel = _gaussian_kernel(both)
    weights = np.concatenate(
        [np.full(len(reference), 1 / len(reference)), np.full(len(observed), -1 / len(observed))]
    )
    # The same permutations every time: the same window gets the same answer.
    shuffled = np.random.default_rng(0).permuted(np.tile(weights, (PERMUTATIONS, 1)), axis=1)
    found = float(weights @ kernel @ weights)
    by_chance = np.einsum("ij,ij->i", shuffled @ kernel, shuffled)
    # Equal sums come out in different last digits.
    as_far = int(np.sum(by_chance >= found - 1e-12))
    return max(found, 0.0), (1 + as_far) / (1 + PERMUTATIONS)


def _in_one_order(rows: Floats) -> Floats:
    return rows[sorted(range(len(rows)), key=lambda row: rows[row].tobytes())]


def _gaussian_kernel(rows: Floats) -> Floats:
    centred = rows - rows.mean(axis=0)
    squares = np.einsum("ij,ij->i", centred, centred)
    distances = np.maximum(squares[:, None] + squares[None, :] - 2 * centred @ centred.T, 0.0)
    apart = distances[np.triu_indices(len(rows), 1)]
    # More than half of the rows may be the same; all of them may be.
    width = float(np.median(apart)) or float(np.mean(apart)) or 1.0
    kernel: Floats = np.exp(-distances / width)
    return kernel
