"""Grey level run lengths (IBSI 3.7): how long a level goes on in a straight line.

As with co-occurrence, `matrix` adds up the directions that it is given.
"""

from collections.abc import Sequence

import numpy as np

from ct_scan_mlops.features.numbers import Levels, Offset, Values, entropy, ratio


def matrix(levels: Levels, count: int, offsets: Sequence[Offset]) -> Values:
    """Counts of runs, (count, longest side): row is the level less 1, column the length less 1."""
    longest = max(levels.shape)
    padded = np.pad(levels, 1)
    strides = np.array([int(np.prod(padded.shape[axis + 1 :])) for axis in range(padded.ndim)])
    flat = padded.ravel()
    runs = np.zeros((count, longest))
    for offset in offsets:
        _count_runs(flat, int(strides @ np.asarray(offset)), runs)
    return runs


def _count_runs(flat: Levels, step: int, runs: Values) -> None:
    """Starts at voxels whose predecessor differs, and goes on with those whose successor does not.

    The border of zeros stops every run before it could leave its line.
    """
    inside = np.flatnonzero(flat)
    heads = inside[flat[inside - step] != flat[inside]]
    tails, length = heads, 0
    while tails.size:
        goes_on = flat[tails + step] == flat[tails]
        ended = flat[tails[~goes_on]]
        runs[:, length] += np.bincount(ended, minlength=len(runs) + 1)[1:]
        tails, length = tails[goes_on] + step, length + 1


def features(runs: Values, voxels: int) -> dict[str, float]:
    """Of a matrix of counts over `voxels`, times the number of directions that were merged."""
    total = float(runs.sum())
    level = np.arange(1, runs.shape[0] + 1, dtype=np.float64)[:, None]
    length = np.arange(1, runs.shape[1] + 1, dtype=np.float64)[None, :]
    shares = runs / total
    by_level, by_length = runs.sum(axis=1), runs.sum(axis=0)
    mean_level, mean_length = float((shares * level).sum()), float((shares * length).sum())
    low, high = 1.0 / level**2, level**2
    short, long = 1.0 / length**2, length**2
    emphases = {
        "short_runs_emphasis": short,
        "long_runs_emphasis": long,
        "low_grey_level_run_emphasis": low,
        "high_grey_level_run_emphasis": high,
        "short_run_low_grey_level_emphasis": short * low,
        "short_run_high_grey_level_emphasis": short * high,
        "long_run_low_grey_level_emphasis": long * low,
        "long_run_high_grey_level_emphasis": long * high,
        "grey_level_variance": (level - mean_level) ** 2,
        "run_length_variance": (length - mean_length) ** 2,
    }
    found = {name: float((shares * weights).sum()) for name, weights in emphases.items()}
    found |= {
        "grey_level_non_uniformity": float(np.square(by_level).sum() / total),
        "normalised_grey_level_non_uniformity": float(np.square(by_level / total).sum()),
        "run_length_non_uniformity": float(np.square(by_length).sum() / total),
        "normalised_run_length_non_uniformity": float(np.square(by_length / total).sum()),
        "run_percentage": ratio(total, voxels),
        "run_entropy": entropy(shares),
    }
    return {f"glrlm_{name}": value for name, value in found.items()}
