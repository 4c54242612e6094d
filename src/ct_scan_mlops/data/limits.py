"""How much a slice may take, and what a slice is once it has been read."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.float32]
"""One slice, (height, width), from 0 for black to 1 for white."""

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is refused by looking at sizes, before anything is decoded.

    The largest slices that scanners write have 2048 x 2048 pixels; they fit, with their headers.
    """

    max_bytes: int = 16 * MIB
    max_side: int = 4096
    max_pixels: int = 2048 * 2048
    max_text_bytes: int = 256 * 1024
    max_elements: int = 5_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slice:
    """One slice as the models see it; `format` is "png" or "dicom"."""

    pixels: Pixels
    format: str
