"""Shape features against the manual's phantom and against what can be worked out by hand."""

from collections.abc import Callable
from math import isfinite

import numpy as np
import pytest

from ct_scan_mlops.features.numbers import Levels
from ct_scan_mlops.features.shape import shape


def test_features_of_the_volume_are_those_published(
    phantom: Levels, is_published: Callable[..., None]
) -> None:
    found = shape(phantom > 0, phantom.astype(np.float64), (2.0, 2.0, 2.0))
    is_published(found, "morph_")


def test_spatial_autocorrelation_is_what_all_pairs_give() -> None:
    rng = np.random.default_rng(4)
    region = rng.random((7, 9)) < 0.6
    values = rng.random((7, 9))
    places, inside = np.argwhere(region), values[region]
    distance = np.linalg.norm(places[:, None] - places[None, :], axis=2)
    weights = np.divide(1.0, distance, out=np.zeros_like(distance), where=distance > 0)
    centred = inside - inside.mean()
    size, spread = len(inside), np.square(centred).sum()
    moran = size / weights.sum() * (weights * np.outer(centred, centred)).sum() / spread
    apart = np.square(inside[:, None] - inside[None, :])
    geary = (size - 1) / (2 * weights.sum()) * (weights * apart).sum() / spread
    found = shape(region, values, (1.0, 1.0))
    assert found["morph_morans_i_index"] == pytest.approx(moran)
    assert found["morph_gearys_c_measure"] == pytest.approx(geary)


def test_a_bar_is_long_and_a_square_is_not() -> None:
    bar = shape(np.ones((2, 20), dtype=bool), np.ones((2, 20)), (1.0, 1.0))
    square = shape(np.ones((6, 6), dtype=bool), np.ones((6, 6)), (1.0, 1.0))
    assert bar["morph_elongation"] < 0.1
    assert square["morph_elongation"] == pytest.approx(1.0)
    assert (bar["morph_volume_voxel_counting"], square["morph_volume_voxel_counting"]) == (40, 36)


def test_every_value_is_finite_where_nothing_varies(awkward: Levels) -> None:
    for values in (awkward / 6.0, np.zeros(awkward.shape)):
        found = shape(awkward > 0, values, (1.0, 1.0))
        assert all(isfinite(value) for value in found.values()), found
