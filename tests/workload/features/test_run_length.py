"""Texture against the manual's phantom, in all six methods of aggregation.

Ours is "2D, merged": on one slice, the matrices of its four directions added up. The others show
that the same functions are right in three dimensions and where features are averaged.
"""

from collections.abc import Callable, Sequence
from math import isfinite

import numpy as np
import pytest

from ct_scan_mlops.features.numbers import Levels, Offset, Values, directions
from ct_scan_mlops.features.run_length import features, matrix

GREY_LEVELS = 6


def measured(levels: Levels, offsets: Sequence[Offset]) -> tuple[Values, int]:
    """The matrix, and the voxels that it is about: once for every direction."""
    return matrix(levels, GREY_LEVELS, offsets), int((levels > 0).sum()) * len(offsets)


def averaged(matrices: Sequence[tuple[Values, int]]) -> dict[str, float]:
    each = [features(runs, voxels) for runs, voxels in matrices]
    return {name: float(np.mean([found[name] for found in each])) for name in each[0]}


def merged(levels: Levels, offsets: Sequence[Offset]) -> tuple[Values, int]:
    """Of all slices together, the directions being those of a slice."""
    parts = [measured(one, offsets) for one in levels]
    return np.sum([runs for runs, _ in parts], axis=0), sum(voxels for _, voxels in parts)


def one_by_one(count: int) -> list[list[Offset]]:
    return [[offset] for offset in directions(count)]


AGGREGATIONS: dict[str, Callable[[Levels], dict[str, float]]] = {
    "2D averaged": lambda levels: averaged(
        [measured(one, offset) for offset in one_by_one(2) for one in levels]
    ),
    "2D merged": lambda levels: averaged([measured(one, directions(2)) for one in levels]),
    "2.5D averaged": lambda levels: averaged([merged(levels, each) for each in one_by_one(2)]),
    "2.5D merged": lambda levels: features(*merged(levels, directions(2))),
    "3D averaged": lambda levels: averaged([measured(levels, each) for each in one_by_one(3)]),
    "3D merged": lambda levels: features(*measured(levels, directions(3))),
}


@pytest.mark.parametrize("method", AGGREGATIONS)
def test_features_are_those_published(
    phantom: Levels, is_published: Callable[..., None], method: str
) -> None:
    found = AGGREGATIONS[method](phantom)
    is_published(found, "glrlm_", method)


def test_the_matrix_counts_runs_by_level_and_length() -> None:
    levels = np.array([[1, 1, 2, 0, 2], [2, 2, 2, 2, 2]])
    runs = matrix(levels, 2, [(0, 1)])
    assert np.array_equal(runs, [[0, 1, 0, 0, 0], [2, 0, 0, 0, 1]])


def test_every_pixel_is_in_one_run_of_each_direction() -> None:
    levels = np.random.default_rng(5).integers(0, 4, (11, 17))
    for offset in directions(2):
        runs = matrix(levels, 3, [offset])
        assert runs.sum(axis=0) @ np.arange(1, 18) == (levels > 0).sum()


def test_every_value_is_finite_where_nothing_varies(awkward: Levels) -> None:
    found = features(*measured(awkward, directions(2)))
    assert all(isfinite(value) for value in found.values()), found
