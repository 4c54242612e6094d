"""The part of a slice that is measured, found without anybody having drawn it.

It is the largest island of soft tissue: brighter than -80 HU, clear of the chest's wall, and more
than a vessel. Its rim is taken off, because pixels there are half lung. A slice without such an
island, for instance of the abdomen, is measured in a disc at its centre instead. Neither finds
lesions; both are the same rule for every slice, in training and in service.
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
"""Of a side; what is wider or higher belongs to the wall of the chest."""


def region_of_interest(pixels: Pixels) -> Region:
    """At least one pixel, whatever the slice shows."""
    islands, _ = ndimage.label(ndimage.binary_opening(_without_wall(pixels > _TISSUE)))
    sizes = np.bincount(islands.ravel())
    sizes[0] = 0
    largest = int(sizes.argmax())
    if sizes[largest] < _LEAST_PIXELS:
        return _central_disc(pixels.shape)
    island: Region = ndimage.binary_fill_holes(islands == largest)
    core: Region = ndimage.binary_erosion(island)
    return core if core.sum() >= _LEAST_PIXELS else island


def _without_wall(tissue: Region) -> Region:
    """Before thin parts are dropped: a wall that has come apart is no longer known by its span."""
    parts, _ = ndimage.label(tissue, structure=np.ones((3, 3)))
    kept = tissue.copy()
    for number, place in enumerate(ndimage.find_objects(parts), start=1):
        spans = [
            (cut.stop - cut.start) / side for cut, side in zip(place, tissue.shape, strict=True)
        ]
        if max(spans) > _MOST_SPAN:
            kept[place] &= parts[place] != number
    return kept


def _central_disc(shape: tuple[int, ...]) -> Region:
    """With a quarter of the slice's side as its radius."""
    distances = [np.arange(side) - (side - 1) / 2 for side in shape]
    radius = max(1.0, min(shape) / 4)
    disc: Region = distances[0][:, None] ** 2 + distances[1][None, :] ** 2 <= radius**2
    return disc
