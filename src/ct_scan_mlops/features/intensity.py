"""First-order statistics (IBSI 3.3) and the histogram of grey levels (IBSI 3.4)."""

import numpy as np

from ct_scan_mlops.features.numbers import Levels, Values, entropy, ratio


def statistics(values: Values) -> dict[str, float]:
    """Of the intensities in a region, of which there is at least one."""
    return {f"stat_{name}": value for name, value in _moments(values).items()} | {
        "stat_energy": float(np.square(values).sum()),
        "stat_root_mean_square": float(np.sqrt(np.square(values).mean())),
    }


def histogram(levels: Levels, count: int) -> dict[str, float]:
    """Of the grey levels in a region, 1 to `count`."""
    inside = levels[levels > 0]
    bins = np.bincount(inside, minlength=count + 1)[1:].astype(np.float64)
    shares = bins / bins.sum()
    gradient = np.gradient(bins) if count > 1 else np.zeros(1)
    of_bins = {
        "mode": float(bins.argmax() + 1),
        "entropy": entropy(shares),
        "uniformity": float(np.square(shares).sum()),
        "maximum_histogram_gradient": float(gradient.max()),
        "maximum_histogram_gradient_grey_level": float(gradient.argmax() + 1),
        "minimum_histogram_gradient": float(gradient.min()),
        "minimum_histogram_gradient_grey_level": float(gradient.argmin() + 1),
    }
    both = _moments(inside.astype(np.float64)) | of_bins
    return {f"ih_{name}": value for name, value in both.items()}


def _moments(values: Values) -> dict[str, float]:
    mean = float(values.mean())
    centred = values - mean
    variance = float(np.square(centred).mean())
    least, tenth, quarter, median, three_quarters, ninetieth, most = np.percentile(
        values, (0, 10, 25, 50, 75, 90, 100)
    ).tolist()
    robust = values[(values >= tenth) & (values <= ninetieth)]
    return {
        "mean": mean,
        "variance": variance,
        "skewness": ratio(float((centred**3).mean()), variance**1.5),
        "kurtosis": ratio(float((centred**4).mean()), variance**2, otherwise=3.0) - 3.0,
        "median": median,
        "minimum": least,
        "10th_percentile": tenth,
        "90th_percentile": ninetieth,
        "maximum": most,
        "interquartile_range": three_quarters - quarter,
        "range": most - least,
        "mean_absolute_deviation": float(np.abs(centred).mean()),
        # Empty where the percentiles are interpolated between the only two values.
        "robust_mean_absolute_deviation": (
            float(np.abs(robust - robust.mean()).mean()) if robust.size else 0.0
        ),
        "median_absolute_deviation": float(np.abs(values - median).mean()),
        "coefficient_of_variation": ratio(variance**0.5, mean),
        "quartile_coefficient_of_dispersion": ratio(
            three_quarters - quarter, three_quarters + quarter
        ),
    }
