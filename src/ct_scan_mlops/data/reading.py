"""Turns bytes that anybody may have sent into a slice, or refuses them by a SliceRefused.

PNG and DICOM only, told apart by their first bytes and never by a name. Both are measured against
the limits before a decoder sees them, so that a refusal costs less than a slice does.

DICOM values become Hounsfield units by the file's rescale slope and intercept. Whatever window
the file asks for is meant for a screen: here it is always centre 40, width 400 (soft tissue), so
that -160 HU is 0 and 240 HU is 1 in every slice. PNG values are taken as windowed already: 0 is 0,
and the largest value of the bit depth is 1.
"""

import numpy as np

from ct_scan_mlops.data.dicom import read_dicom
from ct_scan_mlops.data.limits import Limits, Pixels, Slice
from ct_scan_mlops.data.png import read_png
from ct_scan_mlops.errors import SliceInvalid, SliceTooLarge, SliceUnsupported

__all__ = ["Limits", "Pixels", "Slice", "read_slice", "resized"]

WINDOW_CENTRE_HU = 40.0
WINDOW_WIDTH_HU = 400.0

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DICOM_PREAMBLE = 128


def read_slice(data: bytes, limits: Limits = Limits()) -> Slice:  # noqa: B008 - frozen
    if len(data) > limits.max_bytes:
        message = f"A slice may have {limits.max_bytes} bytes, this one has {len(data)}."
        raise SliceTooLarge(message)
    if not data:
        message = "The slice is empty. Send one PNG or DICOM file."
        raise SliceInvalid(message)
    if data.startswith(_PNG_SIGNATURE):
        return Slice(pixels=read_png(data, limits), format="png")
    if data[_DICOM_PREAMBLE : _DICOM_PREAMBLE + 4] == b"DICM":
        return Slice(pixels=windowed(read_dicom(data, limits)), format="dicom")
    message = "This is neither a PNG nor a DICOM file with a preamble. Send one of the two."
    raise SliceUnsupported(message)


def windowed(hounsfield: Pixels) -> Pixels:
    """Hounsfield units to 0..1 through the one window that all slices are seen through."""
    low = WINDOW_CENTRE_HU - WINDOW_WIDTH_HU / 2
    scaled = (hounsfield - np.float32(low)) / np.float32(WINDOW_WIDTH_HU)
    return np.clip(scaled, 0.0, 1.0, out=scaled)


def resized(pixels: Pixels, size: int) -> Pixels:
    """The slice as a square of `size`, each pixel a weighted mean of those around it."""
    if pixels.shape == (size, size):
        return pixels
    rows = _weights(pixels.shape[0], size)
    columns = _weights(pixels.shape[1], size)
    return np.asarray(rows @ pixels @ columns.T, dtype=np.float32)


def _weights(length: int, size: int) -> Pixels:
    """How much each of `length` samples counts for each of `size`: a triangle filter."""
    scale = length / size
    reach = max(scale, 1.0)
    centres = (np.arange(size) + 0.5) * scale
    distance = np.abs(np.arange(length) + 0.5 - centres[:, None]) / reach
    weights = np.maximum(0.0, 1.0 - distance)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
