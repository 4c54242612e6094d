"""The digital phantom of the IBSI reference manual, and the values published for it.

arXiv 1612.07003 has the phantom in chapter 5, and with each feature its value by consensus for
every method of aggregation. The table beside this file holds those of the features that we
compute, as oncoray/mirp repeats them for its own tests. PolusAI/nyxus has the same for first-order
features and co-occurrence "2D, averaged".
"""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import floor, log10
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ct_scan_mlops.features.numbers import Levels

GREY_LEVELS = 6
SPACING_MM = (2.0, 2.0, 2.0)

_SLICES = (
    ("1 4 4 1 1", "1 4 6 1 1", "4 1 6 4 1", "4 4 6 4 1"),
    ("1 4 4 1 1", "1 1 6 1 1", ". 1 3 1 1", "4 4 6 1 1"),
    ("1 4 4 . .", "1 1 1 1 1", "1 1 . 1 1", "1 1 6 1 1"),
    ("1 4 4 . .", "1 1 1 1 1", "1 1 1 1 1", "1 1 6 1 1"),
)
"""A dot is outside of the region of interest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """`tolerance` is the manual's; without one the value holds to its three digits."""

    feature: str
    method: str
    value: float
    tolerance: float

    def check(self, found: float) -> None:
        digit = 10.0 ** (floor(log10(abs(self.value))) - 2)
        assert found == pytest.approx(self.value, rel=0, abs=max(self.tolerance, digit / 2)), self


def _published() -> Iterator[Published]:
    with (Path(__file__).parent / "ibsi_digital_phantom.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            yield Published(
                feature=line["feature"],
                method=line["method"],
                value=float(line["value"]),
                tolerance=float(line["tolerance"]),
            )


@pytest.fixture(scope="session")
def is_published() -> Callable[..., None]:
    """Checks all features whose names begin so against the manual: none missing, none besides."""
    table = list(_published())

    def check(found: dict[str, float], beginning: str, method: str = "") -> None:
        lines = [
            line for line in table if line.feature.startswith(beginning) and line.method == method
        ]
        assert {line.feature for line in lines} == set(found)
        for line in lines:
            line.check(found[line.feature])

    return check


@pytest.fixture(scope="session")
def phantom() -> Levels:
    """Grey levels, (slices, rows, columns); 0 is outside."""
    rows = [[row.replace(".", "0").split() for row in part] for part in _SLICES]
    return np.array(rows, dtype=np.intp)


@pytest.fixture(scope="session")
def phantom_values(phantom: Levels) -> NDArray[np.float64]:
    return phantom[phantom > 0].astype(np.float64)


@pytest.fixture(params=["one pixel", "two pixels", "constant", "stripes", "noise", "single row"])
def awkward(request: pytest.FixtureRequest) -> Levels:
    """Regions in which some definition divides by nothing."""
    rng = np.random.default_rng(2)
    regions: dict[str, Levels] = {
        "one pixel": np.array([[3]]),
        "two pixels": np.array([[1, 6]]),
        "constant": np.full((5, 5), 4),
        "stripes": np.tile([[1], [6]], (3, 6)),
        "noise": rng.integers(0, 7, (9, 9)),
        "single row": np.array([[1, 0, 2, 2, 0, 0, 6]]),
    }
    return regions[request.param].astype(np.intp)
