"""Grey level co-occurrence (IBSI 3.6): how often two levels are neighbours at distance 1.

`matrix` adds up the directions that it is given. So all four of a slice give the method
"2D, merged", all thirteen of a volume "3D, merged", and one at a time the averaged methods.
"""

from collections.abc import Sequence

import numpy as np

from ct_scan_mlops.features.numbers import Levels, Offset, Values, entropy, ratio, shifted


def matrix(levels: Levels, count: int, offsets: Sequence[Offset]) -> Values:
    """Counts of pairs, (count, count), each pair in both orders."""
    pairs = np.zeros((count + 1) ** 2)
    for offset in offsets:
        cuts = [shifted(side, step) for side, step in zip(levels.shape, offset, strict=True)]
        here = levels[tuple(cut[0] for cut in cuts)]
        there = levels[tuple(cut[1] for cut in cuts)]
        pairs += np.bincount((here * (count + 1) + there).ravel(), minlength=pairs.size)
    inside = pairs.reshape(count + 1, count + 1)[1:, 1:]
    return inside + inside.T


def features(pairs: Values) -> dict[str, float]:
    """Of a matrix of counts. No pairs count as a region that is of one level throughout."""
    if not pairs.any():
        pairs = np.zeros_like(pairs)
        pairs[0, 0] = 1.0
    shares = pairs / pairs.sum()
    found = _joint(shares) | _diagonals(shares) | _differences(shares) | _information(shares)
    return {f"glcm_{name}": value for name, value in found.items()}


def _joint(shares: Values) -> dict[str, float]:
    level = np.arange(1, len(shares) + 1, dtype=np.float64)
    margin = shares.sum(axis=1)
    mean = float(margin @ level)
    variance = float(margin @ np.square(level - mean))
    products = float(level @ shares @ level)
    around = level[:, None] + level[None, :] - 2.0 * mean
    return {
        "joint_maximum": float(shares.max()),
        "joint_average": mean,
        "joint_variance": variance,
        "joint_entropy": entropy(shares),
        "angular_second_moment": float(np.square(shares).sum()),
        "autocorrelation": products,
        "correlation": ratio(products - mean * mean, variance, otherwise=1.0),
        "cluster_tendency": float((around**2 * shares).sum()),
        "cluster_shade": float((around**3 * shares).sum()),
        "cluster_prominence": float((around**4 * shares).sum()),
    }


def _diagonals(shares: Values) -> dict[str, float]:
    """Of the distribution of the sum of two levels, and of that of their difference."""
    rows, columns = np.indices(shares.shape)
    sums = np.bincount((rows + columns).ravel(), shares.ravel())
    differences = np.bincount(np.abs(rows - columns).ravel(), shares.ravel())
    sum_level = np.arange(len(sums)) + 2.0
    difference_level = np.arange(len(differences), dtype=np.float64)
    sum_mean = float(sums @ sum_level)
    difference_mean = float(differences @ difference_level)
    return {
        "sum_average": sum_mean,
        "sum_variance": float(sums @ np.square(sum_level - sum_mean)),
        "sum_entropy": entropy(sums),
        "difference_average": difference_mean,
        "difference_variance": float(differences @ np.square(difference_level - difference_mean)),
        "difference_entropy": entropy(differences),
    }


def _differences(shares: Values) -> dict[str, float]:
    rows, columns = np.indices(shares.shape)
    apart = np.abs(rows - columns).astype(np.float64)
    square = np.square(apart)
    count = len(shares)
    off_diagonal = apart > 0
    return {
        "contrast": float((square * shares).sum()),
        "dissimilarity": float((apart * shares).sum()),
        "inverse_difference": float((shares / (1.0 + apart)).sum()),
        "normalised_inverse_difference": float((shares / (1.0 + apart / count)).sum()),
        "inverse_difference_moment": float((shares / (1.0 + square)).sum()),
        "normalised_inverse_difference_moment": float((shares / (1.0 + square / count**2)).sum()),
        "inverse_variance": float((shares[off_diagonal] / square[off_diagonal]).sum()),
    }


def _information(shares: Values) -> dict[str, float]:
    margin = shares.sum(axis=1)
    independent = np.outer(margin, margin)
    some = independent > 0
    joint = entropy(shares)
    crossed = float(-(shares[some] * np.log2(independent[some])).sum())
    surplus = max(0.0, entropy(independent) - joint)
    return {
        "first_measure_of_information_correlation": ratio(joint - crossed, entropy(margin)),
        "second_measure_of_information_correlation": float(np.sqrt(1.0 - np.exp(-2.0 * surplus))),
    }
