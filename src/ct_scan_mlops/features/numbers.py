"""Arithmetic that the features share, with an answer also where a definition divides by nothing."""

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[np.float64]
Levels: TypeAlias = NDArray[np.intp]
"""Grey levels of a region in two or three dimensions: 1 to the number of levels, 0 is outside."""

Region: TypeAlias = NDArray[np.bool_]
Offset = tuple[int, ...]

_NOTHING: Final = 1e-12


def ratio(above: float, below: float, *, otherwise: float = 0.0) -> float:
    return float(above / below) if abs(below) > _NOTHING else otherwise


def entropy(shares: NDArray[Any]) -> float:
    """In bits; shares of zero add nothing."""
    some = shares[shares > 0]
    return float(abs(-(some * np.log2(some)).sum()))


def directions(dimensions: int) -> tuple[Offset, ...]:
    """One of each two opposite neighbours: 4 in a slice, 13 in a volume."""
    grid = np.indices((3,) * dimensions).reshape(dimensions, -1).T - 1
    return tuple(tuple(map(int, offset)) for offset in grid[len(grid) // 2 + 1 :])


def shifted(length: int, step: int) -> tuple[slice, slice]:
    """Where things are, and where their neighbours at `step` are, along an axis of `length`."""
    return slice(max(0, -step), length - max(0, step)), slice(max(0, step), length - max(0, -step))
