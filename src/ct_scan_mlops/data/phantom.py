"""One synthetic CT slice in Hounsfield units: half a chest with one opacity in the lung.

What the label is lies in the opacity's texture: the correlation length of the random field that it
consists of, and how unevenly the field's strength is spread over it. Size, mean, contrast, outline,
place, vessels and the scanner's noise are drawn alike for all classes, up to a slight tendency of
outline and mean. So neither of those tells the classes apart, and the classes' textures overlap.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Field: TypeAlias = NDArray[np.float64]

AIR_HU, LUNG_HU, FAT_HU, MUSCLE_HU, VESSEL_HU = -1000.0, -800.0, -95.0, 45.0, 30.0

_DESIGN_SIZE = 64
"""Lengths below are in pixels of a slice of this size, and grow with the slice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tissue:
    """How the opacities of a class are distributed: means and, where named so, spreads."""

    correlation: float
    correlation_spread: float
    unevenness: float
    unevenness_spread: float
    outline: float
    mean_hu: float


TISSUES = {
    "normal": Tissue(
        correlation=0.7,
        correlation_spread=0.13,
        unevenness=0.15,
        unevenness_spread=0.12,
        outline=0.085,
        mean_hu=36.0,
    ),
    "benign": Tissue(
        correlation=1.55,
        correlation_spread=0.28,
        unevenness=0.2,
        unevenness_spread=0.12,
        outline=0.08,
        mean_hu=38.0,
    ),
    "malignant": Tissue(
        correlation=1.05,
        correlation_spread=0.18,
        unevenness=0.95,
        unevenness_spread=0.2,
        outline=0.1,
        mean_hu=41.0,
    ),
}


def slice_hounsfield(tissue: Tissue, size: int, rng: np.random.Generator) -> Field:
    """A slice of `size` pixels a side; everything random is drawn from `rng`."""
    scale = size / _DESIGN_SIZE
    rows, columns = np.mgrid[0:size, 0:size] / scale
    image = _chest(rows, columns, rng)
    opacity = _opacity_mask(rows, columns, tissue, rng)
    texture = _texture(tissue, size, scale, rng)
    mean = rng.normal(tissue.mean_hu, 14.0)
    contrast = rng.uniform(30.0, 46.0)
    filled = image * (1.0 - opacity) + (mean + contrast * texture) * opacity
    return filled + _noise(size, scale, rng)


def _ellipse(rows: Field, columns: Field, centre: Field, axes: Field) -> Field:
    """1 inside, 0 outside, and about one pixel of partial volume between."""
    radius = np.hypot((rows - centre[0]) / axes[0], (columns - centre[1]) / axes[1])
    return np.clip(0.5 + (1.0 - radius) * axes.min(), 0.0, 1.0)


def _chest(rows: Field, columns: Field, rng: np.random.Generator) -> Field:
    centre = rng.normal(31.5, 0.8, 2)
    wall = rng.uniform((30.0, 29.0), (32.0, 31.5))
    fat = rng.uniform(1.5, 3.0)
    lung = wall - fat - rng.uniform(1.5, 3.5)
    image = np.full(rows.shape, AIR_HU)
    for axes, value in ((wall, FAT_HU), (wall - fat, MUSCLE_HU), (lung, LUNG_HU)):
        inside = _ellipse(rows, columns, centre, axes)
        image += (value - image) * inside
    for _ in range(rng.integers(3, 8)):
        place = centre + rng.uniform(-0.6, 0.6, 2) * lung
        vessel = _ellipse(rows, columns, place, rng.uniform(0.6, 1.4, 2))
        image += (VESSEL_HU - image) * vessel
    return image


def _opacity_mask(rows: Field, columns: Field, tissue: Tissue, rng: np.random.Generator) -> Field:
    """A disc whose radius swings with the angle; small enough to stay clear of the chest's wall."""
    centre = 31.5 + rng.uniform(-6.0, 6.0, 2)
    down, right = rows - centre[0], columns - centre[1]
    angle = np.arctan2(down, right)
    radius = np.full(rows.shape, rng.uniform(7.0, 11.5))
    swing = abs(rng.normal(tissue.outline, 0.05))
    for lobes in (2, 3, 5, 7):
        phase, part = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(0.2, 0.6)
        radius += radius * swing * part * np.cos(lobes * angle + phase)
    return np.clip(0.5 + radius - np.hypot(down, right), 0.0, 1.0)


def _texture(tissue: Tissue, size: int, scale: float, rng: np.random.Generator) -> Field:
    """A random field of mean 0 and variance 1, stronger in some places than in others."""
    length = max(0.3, rng.normal(tissue.correlation, tissue.correlation_spread)) * scale
    uneven = max(0.0, rng.normal(tissue.unevenness, tissue.unevenness_spread))
    field = _unit(gaussian_filter(rng.standard_normal((size, size)), length, mode="wrap"))
    places = _unit(gaussian_filter(rng.standard_normal((size, size)), 3.0 * scale, mode="wrap"))
    return _unit(field * np.exp(uneven * places))


def _noise(size: int, scale: float, rng: np.random.Generator) -> Field:
    """Quantum noise as a smooth reconstruction kernel leaves it."""
    grain = gaussian_filter(rng.standard_normal((size, size)), 0.55 * scale, mode="wrap")
    return rng.uniform(10.0, 22.0) * _unit(grain)


def _unit(field: Field) -> Field:
    return (field - field.mean()) / max(float(field.std()), 1e-9)
