"""Texture against the manual's phantom, in all six methods of aggregation.

Ours is "2D, merged": on one slice, the matrices of its four directions added up. The others show
that the same functions are right in three dimensions and where features are averaged.
"""

from collections.abc import Callable, Sequence
from math import isfinite

import numpy as np
import pytest

from ct_scan_mlops.features.cooccurrence import features, matrix
from ct_scan_mlops.features.numbers import Levels, Offset, Values, directions

GREY_LEVELS = 6


def averaged(matrices: Sequence[Values]) -> dict[str, float]:
    each = [features(one) for one in matrices]
    return {name: float(np.mean([found[name] for found in each])) for name in each[0]}


def by_slice(levels: Levels, offsets: Sequence[Offset]) -> list[Values]:
    return [matrix(one, GREY_LEVELS, offsets) for one in levels]


def one_by_one(count: int) -> list[list[Offset]]:
    return [[offset] for offset in directions(count)]


AGGREGATIONS: dict[str, Callable[[Levels], dict[str, float]]] = {
    "2D averaged": lambda levels: averaged(
        [one for offset in one_by_one(2) for one in by_slice(levels, offset)]
    ),
    "2D merged": lambda levels: averaged(by_slice(levels, directions(2))),
    "2.5D averaged": lambda levels: averaged(
        [np.sum(by_slice(levels, offset), axis=0) for offset in one_by_one(2)]
    ),
    "2.5D merged": lambda levels: features(np.sum(by_slice(levels, directions(2)), axis=0)),
    "3D averaged": lambda levels: averaged(
        [matrix(levels, GREY_LEVELS, offset) for offset in one_by_one(3)]
    ),
    "3D merged": lambda levels: features(matrix(levels, GREY_LEVELS, directions(3))),
}


@pytest.mark.parametrize("method", AGGREGATIONS)
def test_features_are_those_published(
    phantom: Levels, is_published: Callable[..., None], method: str
) -> None:
    found = AGGREGATIONS[method](phantom)
    is_published(found, "glcm_", method)


def test_the_matrix_counts_each_pair_in_both_orders() -> None:
    levels = np.array([[1, 2, 2], [0, 2, 1]])
    expected = np.array([[0, 2], [2, 2]])
    assert np.array_equal(matrix(levels, 2, [(0, 1)]), expected)
    assert np.array_equal(matrix(levels[:, ::-1], 2, [(0, 1)]), expected)


@pytest.mark.parametrize(("dimensions", "count"), [(2, 4), (3, 13)])
def test_directions_are_half_of_the_neighbours(dimensions: int, count: int) -> None:
    found = directions(dimensions)
    opposite = {tuple(-step for step in offset) for offset in found}
    assert len(found) == len(set(found)) == count
    assert not opposite & set(found)


def test_every_value_is_finite_where_nothing_varies(awkward: Levels) -> None:
    found = features(matrix(awkward, GREY_LEVELS, directions(2)))
    assert all(isfinite(value) for value in found.values()), found
