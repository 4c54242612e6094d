"""The part of a slice that is measured, found without anybody having drawn it.

It is the largest island of soft tissue: brighter than -80 HU, clear of the chest's wall, and more than
a vessel. Its rim is taken off, because pixels there are half lung. A slice without such an island, for
instance of the abdomen, is measured in a disc at its centre instead. Neither is a diagnosis of where a
lesion is; both are the same rule for every slice, in training and in service.
"""

from typing import Final

import numpy as np
from scipy import ndimage

from ct_scan_mlops.data.limits import Pixels
from ct_scan_mlops.features.numbers import Region

_TISSUE: Final = 0.2
"""-80 HU in the window of `data.reading`."""

_LEAST_PIXELS: Final = 24
_MOST_SPAN: Final = 0.75
"""Of a side; what is wider and higher is the wall of the chest."""


def region_of_interest(pixels: Pixels) -> Region:
    """At least one pixel, whatever the slice shows."""
    islands, _ = ndimage.label(ndimage.binary_opening(pixels > _TISSUE))
    sizes = np.bincount(islands.ravel())
    for number in sizes[1:].argsort(kind="stable")[::-1] + 1:
        if sizes[number] < _LEAST_PIXELS:
            break
        island: Region = ndimage.binary_fill_holes(islands == number)
        if not _is_wall(island):
            core: Region = ndimage.binary_erosion(island)
            return core if core.sum() >= _LEAST_PIXELS else island
    return _central_disc(pixels.shape)


def _is_wall(island: Region) -> bool:
    return all(
        np.ptp(np.flatnonzero(island.any(axis=1 - axis))) + 1 > _MOST_SPAN * side
        for axis, side in enumerate(island.shape)
    )


def _central_disc(shape: tuple[int, ...]) -> Region:
    """With a quarter of the slice's side as its radius."""
    distances = [np.arange(side) - (side - 1) / 2 for side in shape]
    radius = max(1.0, min(shape) / 4)
    disc: Region = distances[0][:, None] ** 2 + distances[1][None, :] ** 2 <= radius**2
    return disc
