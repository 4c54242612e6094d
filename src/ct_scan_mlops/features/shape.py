"""Shape and place of a region, in two or three dimensions (IBSI 3.1), as far as voxels tell them.

The features that need a surface mesh are left out: a slice has none. In two dimensions volume means
area, and there is neither a least axis nor a flatness.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from ct_scan_mlops.features.numbers import Region, Values, ratio


def shape(region: Region, values: Values, spacing: tuple[float, ...]) -> dict[str, float]:
    """Of a region that is not empty; `values` has the intensities of all its surroundings too."""
    places = np.argwhere(region) * np.asarray(spacing)
    centre = places.mean(axis=0)
    lengths = _axis_lengths(places - centre)
    found = {
        "morph_volume_voxel_counting": float(len(places) * np.prod(spacing)),
        "morph_centre_of_mass_shift": _shift(places, centre, values[region]),
        "morph_major_axis_length": lengths[0],
        "morph_minor_axis_length": lengths[1],
        "morph_elongation": ratio(lengths[1], lengths[0], otherwise=1.0),
    }
    if region.ndim == 3:
        found["morph_least_axis_length"] = lengths[2]
        found["morph_flatness"] = ratio(lengths[2], lengths[0], otherwise=1.0)
    return found | _spatial_autocorrelation(region, values, spacing)


def _axis_lengths(centred: Values) -> list[float]:
    """Of the ellipsoid with the same principal moments, longest first."""
    moments = np.linalg.eigvalsh(centred.T @ centred / max(1, len(centred) - 1))
    lengths: list[float] = (4.0 * np.sqrt(np.maximum(moments[::-1], 0.0))).tolist()
    return lengths


def _shift(places: Values, centre: Values, inside: Values) -> float:
    """From the centre of the shape to that of the intensities."""
    total = float(inside.sum())
    if abs(total) < 1e-9:
        return 0.0
    return float(np.linalg.norm((places * inside[:, None]).sum(axis=0) / total - centre))


def _spatial_autocorrelation(
    region: Region, values: Values, spacing: tuple[float, ...]
) -> dict[str, float]:
    """Moran's I and Geary's C with weights of one over distance, by convolution for all pairs."""
    centred = np.where(region, values - values[region].mean(), 0.0)
    present = region.astype(np.float64)
    weights = _inverse_distances(region.shape, spacing)
    size, squares = float(present.sum()), float(np.square(centred).sum())
    neighbours = fftconvolve(present, weights, mode="same")
    total = float((present * neighbours).sum())
    products = float((centred * fftconvolve(centred, weights, mode="same")).sum())
    differences = 2.0 * (float((np.square(centred) * neighbours).sum()) - products)
    return {
        "morph_morans_i_index": ratio(ratio(size * products, total), squares),
        "morph_gearys_c_measure": ratio(
            ratio((size - 1.0) * differences, 2.0 * total), squares, otherwise=1.0
        ),
    }


def _inverse_distances(sides: tuple[int, ...], spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """For every offset that two voxels can have; none for a voxel with itself."""
    axes = [np.arange(1 - side, side) * step for side, step in zip(sides, spacing, strict=True)]
    distance = np.sqrt(sum(np.square(axis) for axis in np.meshgrid(*axes, indexing="ij")))
    return np.divide(1.0, distance, out=np.zeros_like(distance), where=distance > 0)
