"""DICOM files: measured and walked here, the pixels decoded by pydicom.

pydicom reads sequences by recursion, inflates without a limit and makes an object of every element.
So the walk is our own (`data.dicom_elements`), and pydicom is handed a data set of the few elements
that make an image, after they were held against the limits and each other. Read are uncompressed
monochrome images of one frame, little endian, deflated or not.
"""

import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from ct_scan_mlops.data.dicom_elements import Encoding, elements, file_meta
from ct_scan_mlops.data.limits import Limits, Pixels
from ct_scan_mlops.errors import SliceInvalid, SliceTooLarge, SliceUnsupported

_IMPLICIT: Final = "1.2.840.10008.1.2"
_EXPLICIT: Final = "1.2.840.10008.1.2.1"
_DEFLATED: Final = "1.2.840.10008.1.2.1.99"

_META_START: Final = 132
_TRANSFER_SYNTAX: Final = 0x00020010
_PIXEL_DATA: Final = 0x7FE00010
_NAMES: Final = {
    0x00280002: "SamplesPerPixel",
    0x00280004: "PhotometricInterpretation",
    0x00280008: "NumberOfFrames",
    0x00280010: "Rows",
    0x00280011: "Columns",
    0x00280100: "BitsAllocated",
    0x00280101: "BitsStored",
    0x00280103: "PixelRepresentation",
    0x00281052: "RescaleIntercept",
    0x00281053: "RescaleSlope",
    _PIXEL_DATA: "PixelData",
}


@dataclass(frozen=True, slots=True)
class _Values:
    """The elements that are needed, by name, as they are written."""

    raw: dict[str, memoryview]

    def whole(self, name: str) -> int:
        """A value of kind US."""
        value = self.raw.get(name, memoryview(b""))
        if len(value) != 2:
            message = f"The DICOM file has no usable {name}, which an image needs."
            raise SliceInvalid(message)
        return int.from_bytes(value, "little")

    def text(self, name: str, default: str) -> str:
        value = self.raw.get(name)
        if value is None:
            return default
        text = bytes(value[:64]).decode("latin-1").strip(" \0")
        return text or default

    def number(self, name: str, default: str) -> float:
        """A value of kind DS or IS."""
        text = self.text(name, default)
        try:
            return float(text)
        except ValueError as failure:
            message = f"{name} of the DICOM file is {text!r}, which is no number."
            raise SliceInvalid(message) from failure


def read_dicom(data: bytes, limits: Limits) -> Pixels:
    """The image in the units of its rescale slope and intercept: Hounsfield units for CT."""
    syntax, body = _body(data, limits)
    encoding = Encoding.IMPLICIT if syntax == _IMPLICIT else Encoding.EXPLICIT
    values = _wanted(body, encoding, limits)
    _measure(values, limits)
    return _rescaled(_decoded(values), values)


def _body(data: bytes, limits: Limits) -> tuple[str, memoryview]:
    """The transfer syntax and the data set, inflated where needed, as far as it is allowed."""
    rest = memoryview(data)[_META_START:]
    syntax, end = "", 0
    for element in file_meta(rest, limits):
        end = element.end
        if element.tag == _TRANSFER_SYNTAX:
            syntax = bytes(element.value[:64]).decode("latin-1").strip(" \0")
    body = rest[end:]
    if syntax in (_IMPLICIT, _EXPLICIT):
        return syntax, body
    if syntax == _DEFLATED:
        return syntax, _inflated(body, limits)
    message = (
        f"The DICOM file's transfer syntax is {syntax!r}; read are uncompressed little endian "
        "images. Convert it with gdcmconv --raw."
    )
    raise SliceUnsupported(message)


def _inflated(body: memoryview, limits: Limits) -> memoryview:
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = unpacker.decompress(body, limits.max_bytes + 1)
    except zlib.error as failure:
        message = "The deflated DICOM file cannot be unpacked. It is damaged; send it again."
        raise SliceInvalid(message) from failure
    if len(inflated) > limits.max_bytes:
        message = f"The deflated DICOM file unpacks to more than {limits.max_bytes} bytes."
        raise SliceTooLarge(message)
    return memoryview(inflated)


def _wanted(body: memoryview, encoding: Encoding, limits: Limits) -> _Values:
    raw: dict[str, memoryview] = {}
    for element in elements(body, encoding, limits):
        name = _NAMES.get(element.tag)
        if name is None:
            continue
        if name in raw:
            message = f"The DICOM file has {name} twice. Export the slice again."
            raise SliceInvalid(message)
        raw[name] = element.value
        if name == "PixelData":
            return _Values(raw)
    message = (
        "The DICOM file has no pixels. Send the image, not a report or a plan that refers to it."
    )
    raise SliceInvalid(message)


def _measure(values: _Values, limits: Limits) -> None:
    """Everything that decoding relies on, so that pydicom only meets what fits together."""
    rows, columns = values.whole("Rows"), values.whole("Columns")
    if values.number("NumberOfFrames", "1") != 1:
        frames = values.text("NumberOfFrames", "1")
        message = f"The DICOM file has {frames} frames. Send one slice of one frame."
        raise SliceTooLarge(message)
    if max(rows, columns) > limits.max_side or rows * columns > limits.max_pixels:
        message = (
            f"The DICOM file has {columns} x {rows} pixels; a slice may have {limits.max_pixels}, "
            f"and {limits.max_side} on a side."
        )
        raise SliceTooLarge(message)
    colour = values.text("PhotometricInterpretation", "")
    samples = values.whole("SamplesPerPixel")
    if samples != 1 or colour not in ("MONOCHROME1", "MONOCHROME2"):
        message = f"The DICOM file is of kind {colour!r}; a CT slice is MONOCHROME2."
        raise SliceUnsupported(message)
    allocated, stored = values.whole("BitsAllocated"), values.whole("BitsStored")
    if allocated not in (8, 16) or not 0 < stored <= allocated:
        message = f"The DICOM file stores {stored} of {allocated} bits; read are those of 8 or 16."
        raise SliceUnsupported(message)
    expected, actual = rows * columns * allocated // 8, len(values.raw["PixelData"])
    if not expected or actual != expected + expected % 2:
        message = (
            f"The DICOM file's {columns} x {rows} pixels take {expected} bytes, and it has "
            f"{actual}. Its header and its pixels do not belong together."
        )
        raise SliceInvalid(message)


def _decoded(values: _Values) -> NDArray[np.generic]:
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows, image.Columns = values.whole("Rows"), values.whole("Columns")
    image.BitsAllocated, image.BitsStored = (
        values.whole("BitsAllocated"),
        values.whole("BitsStored"),
    )
    image.HighBit = image.BitsStored - 1
    image.PixelRepresentation = values.whole("PixelRepresentation") & 1
    image.PixelData = bytes(values.raw["PixelData"])
    image["PixelData"].VR = "OW"
    pixels: NDArray[np.generic] = image.pixel_array
    return pixels


def _rescaled(stored: NDArray[np.generic], values: _Values) -> Pixels:
    """By slope and intercept. That MONOCHROME1 is shown with its least value white changes none."""
    slope = values.number("RescaleSlope", "1")
    intercept = values.number("RescaleIntercept", "0")
    rescaled = stored.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        rescaled *= np.float32(slope)
        rescaled += np.float32(intercept)
    if not np.isfinite(rescaled).all():
        message = f"The DICOM file's slope {slope:g} and intercept {intercept:g} give no numbers."
        raise SliceInvalid(message)
    return rescaled
