"""PSI, KS and MMD against values made by hand and by others, and at the edges of what is finite."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ct_scan_mlops.monitoring import statistics

RNG_SEED = 5


def psi(reference: statistics.Floats, observed: statistics.Floats) -> float:
    return statistics.psi(*statistics.binned(reference, observed))


def normal(count: int, *, seed: int = RNG_SEED, shift: float = 0.0) -> statistics.Floats:
    return np.random.default_rng(seed).normal(shift, 1.0, size=count)


def test_psi_is_what_the_definition_gives_by_hand() -> None:
    # A fair coin's shares are 0.5 and 0.5; the window has 0.9 and 0.1.
    reference = np.repeat([0.0, 1.0], 50)
    observed = np.repeat([0.0, 1.0], [90, 10])
    by_hand = (0.9 - 0.5) * math.log(0.9 / 0.5) + (0.1 - 0.5) * math.log(0.1 / 0.5)
    assert psi(reference, observed) == pytest.approx(by_hand)


def test_psi_of_a_shifted_normal_is_near_the_integral() -> None:
    # Both Kullback-Leibler divergences of N(0, 1) and N(d, 1) are d^2 / 2; ten bins lose a little.
    reference, observed = normal(200_000), normal(200_000, seed=6, shift=0.5)
    assert psi(reference, observed) == pytest.approx(0.25, abs=0.02)


def test_the_reference_fills_its_bins_equally() -> None:
    counts, _ = statistics.binned(normal(1000), normal(10))
    assert counts.tolist() == pytest.approx([100.0] * 10, abs=1)


@pytest.mark.parametrize("moved", [-1e-9, 1e-9, -1.0, 1.0])
def test_leaving_a_constant_is_seen_in_either_direction(moved: float) -> None:
    reference = np.full(100, 3.0)
    assert psi(reference, np.full(40, 3.0)) == 0.0
    assert psi(reference, np.full(40, 3.0 + moved)) > 5
    assert statistics.kolmogorov_smirnov(reference, reference) == (0.0, 1.0)


def test_one_value_of_a_billion_does_not_hide_a_drift() -> None:
    reference, observed = normal(500), normal(200, seed=6, shift=1.0)
    without = psi(reference, observed)
    observed[0] = 1e9
    assert psi(reference, observed) == pytest.approx(without, rel=0.1)


@pytest.mark.parametrize("scale", [1e-300, 1e9, 1e300])
def test_magnitude_changes_nothing(scale: float) -> None:
    reference, observed = normal(300), normal(100, seed=6, shift=0.4)
    assert psi(reference * scale, observed * scale) == pytest.approx(psi(reference, observed))
    assert statistics.kolmogorov_smirnov(reference * scale, observed * scale) == (
        statistics.kolmogorov_smirnov(reference, observed)
    )


def test_chi_squared_is_what_the_textbook_gives() -> None:
    # Expected are 15 in each cell: 4 * 5^2 / 15 with one degree of freedom.
    p_value = statistics.chi_squared(np.array([10.0, 20.0]), np.array([20.0, 10.0]))
    assert p_value == pytest.approx(math.erfc(math.sqrt(100 / 15 / 2)))


def test_ks_is_by_hand_the_largest_gap() -> None:
    statistic, _ = statistics.kolmogorov_smirnov(np.array([1.0, 2, 3, 4]), np.array([3.0, 4, 5, 6]))
    assert statistic == 0.5


@pytest.mark.parametrize("rows", [200, 5000])
def test_ks_is_scipys(rows: int) -> None:
    reference, observed = normal(rows), normal(150, seed=6, shift=0.1)
    expected = stats.ks_2samp(reference, observed)
    statistic, p_value = statistics.kolmogorov_smirnov(reference, observed)
    assert statistic == pytest.approx(expected.statistic)
    assert p_value == pytest.approx(expected.pvalue, rel=0.05)


def test_holm_is_as_in_the_textbook() -> None:
    adjusted = statistics.holm(np.array([0.01, 0.04, 0.03, 0.005]))
    assert adjusted.tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm(np.array([0.6, 0.9])).tolist() == [1.0, 1.0]


def test_mmd_is_what_two_points_give_by_hand() -> None:
    # Two points a unit apart: the kernel is 1 on the diagonal and exp(-1) beside it.
    mmd2, _ = statistics.maximum_mean_discrepancy(np.array([[0.0]]), np.array([[1.0]]))
    assert mmd2 == pytest.approx(2 - 2 * math.exp(-1))


def test_mmd_sees_what_no_single_component_shows() -> None:
    rng = np.random.default_rng(RNG_SEED)
    reference = rng.normal(size=(300, 2))
    one = rng.normal(size=(300, 1))
    correlated = np.hstack([one, one])
    _, p_value = statistics.maximum_mean_discrepancy(reference, correlated)
    alone = [
        statistics.kolmogorov_smirnov(reference[:, column], correlated[:, column])[1]
        for column in (0, 1)
    ]
    assert p_value == 1 / (1 + statistics.PERMUTATIONS)
    assert min(alone) > 0.01


def test_mmds_p_value_is_small_as_often_as_it_says() -> None:
    rng = np.random.default_rng(RNG_SEED)
    p_values = [
        statistics.maximum_mean_discrepancy(rng.normal(size=(60, 4)), rng.normal(size=(40, 4)))[1]
        for _ in range(200)
    ]
    below = float(np.mean(np.array(p_values) <= 0.1))
    # 0.1, and three standard deviations of a share of 200.
    assert below == pytest.approx(0.1, abs=0.064)


@pytest.mark.parametrize(
    "rows",
    [np.zeros((50, 3)), np.full((50, 3), 1e30), np.eye(50, 3) * 1e30],
    ids=["zero", "constant and large", "few apart"],
)
def test_mmd_of_degenerate_embeddings_is_finite(rows: statistics.Floats) -> None:
    mmd2, p_value = statistics.maximum_mean_discrepancy(rows, rows[:20])
    assert math.isfinite(mmd2)
    assert 0 < p_value <= 1


def test_the_order_of_rows_changes_nothing() -> None:
    rng = np.random.default_rng(RNG_SEED)
    reference, observed = rng.normal(size=(80, 3)), rng.normal(0.3, 1, size=(50, 3))
    other = rng.permutation(observed)
    first = statistics.maximum_mean_discrepancy(reference, observed)
    assert statistics.maximum_mean_discrepancy(reference, other) == first
