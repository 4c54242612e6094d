"""The same rule finds the opacity of a chest slice, and something in any other slice."""

import numpy as np
import pytest

from ct_scan_mlops.data.phantom import TISSUES, slice_hounsfield
from ct_scan_mlops.data.reading import windowed
from ct_scan_mlops.features.region import region_of_interest


def chest_with(row: int, column: int, radius: float) -> np.ndarray:
    """A bright wall around dark lung, and one round island."""
    rows, columns = np.mgrid[0:64, 0:64]
    from_centre = np.hypot(rows - 31.5, columns - 31.5)
    island = np.hypot(rows - row, columns - column) <= radius
    wall = (from_centre > 27) & (from_centre < 31)
    return np.where(wall | island, 0.5, 0.0).astype(np.float32)


@pytest.mark.parametrize(("row", "column"), [(20, 24), (40, 30), (31, 31)])
def test_the_island_is_found_without_its_rim_and_the_wall_is_not(row: int, column: int) -> None:
    region = region_of_interest(chest_with(row, column, 8.0))
    rows, columns = np.nonzero(region)
    assert (round(rows.mean()), round(columns.mean())) == (row, column)
    assert 110 < region.sum() < 201


def test_a_hole_in_the_island_belongs_to_it() -> None:
    pixels = chest_with(30, 30, 9.0)
    pixels[29:32, 29:32] = 0.0
    assert region_of_interest(pixels)[30, 30]


def test_the_largest_island_is_taken() -> None:
    pixels = np.maximum(chest_with(20, 20, 5.0), chest_with(42, 40, 8.0))
    region = region_of_interest(pixels)
    assert region[42, 40]
    assert not region[20, 20]


def test_every_synthetic_opacity_is_found() -> None:
    for number in range(150):
        tissue = list(TISSUES.values())[number % 3]
        hounsfield = slice_hounsfield(tissue, 64, np.random.default_rng(number))
        region = region_of_interest(windowed(hounsfield.astype(np.float32)))
        assert 60 < region.sum() < 600
        assert not region[:8].any()
        assert hounsfield[region].mean() > -60


@pytest.mark.parametrize("shape", [(64, 64), (1, 1), (2, 3), (5, 40)])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_slice_without_an_island_is_measured_in_its_centre(
    shape: tuple[int, int], value: float
) -> None:
    region = region_of_interest(np.full(shape, value, dtype=np.float32))
    assert region.shape == shape
    assert region.any()
    assert region.sum() < 900


def test_a_vessel_is_no_island() -> None:
    region = region_of_interest(chest_with(12, 31, 2.0))
    assert not region[12, 31]
    assert region[31, 31]
