"""First-order features against the manual's phantom, and where nothing varies."""

from collections.abc import Callable
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from ct_scan_mlops.features.intensity import histogram, statistics
from ct_scan_mlops.features.numbers import Levels


def test_statistics_are_those_published(
    phantom_values: NDArray[np.float64], is_published: Callable[..., None]
) -> None:
    found = statistics(phantom_values)
    is_published(found, "stat_")


def test_the_histogram_is_that_published(
    phantom: Levels, is_published: Callable[..., None]
) -> None:
    found = histogram(phantom, 6)
    is_published(found, "ih_")


def test_every_value_is_finite_where_nothing_varies(awkward: Levels) -> None:
    values = awkward[awkward > 0] / 6.0
    for one in (values, values * 0.0, values * 1e-30, values * 1e6):
        found = statistics(one) | histogram(awkward, 6)
        assert all(isfinite(value) for value in found.values()), found


def test_a_histogram_of_one_bin_is_no_special_case() -> None:
    found = histogram(np.ones((3, 3), dtype=np.intp), 1)
    assert (found["ih_mode"], found["ih_uniformity"], found["ih_entropy"]) == (1.0, 1.0, 0.0)
