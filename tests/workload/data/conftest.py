"""Slices as honest and as hostile senders make them, and what it costs to refuse one."""

import io
import struct
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ct_scan_mlops.data.limits import Limits
from ct_scan_mlops.data.reading import read_slice
from ct_scan_mlops.errors import SliceRefused

EXPLICIT = "1.2.840.10008.1.2.1"
_LONG_KINDS = ("OB", "OW", "SQ", "UN", "UT")


def element(tag: int, kind: str, value: bytes, *, length: int | None = None) -> bytes:
    """One explicit element; `length` is what it claims, if that is not the truth."""
    claimed = len(value) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, kind.encode())
    if kind in _LONG_KINDS:
        return head + struct.pack("<HI", 0, claimed) + value
    return head + struct.pack("<H", claimed) + value


def _image_elements(values: Mapping[str, int | str], pixels: bytes, length: int | None) -> bytes:
    known: dict[str, tuple[int, str, int | str | None]] = {
        "SamplesPerPixel": (0x00280002, "US", 1),
        "PhotometricInterpretation": (0x00280004, "CS", "MONOCHROME2 "),
        "NumberOfFrames": (0x00280008, "IS", None),
        "Rows": (0x00280010, "US", 8),
        "Columns": (0x00280011, "US", 8),
        "BitsAllocated": (0x00280100, "US", 16),
        "BitsStored": (0x00280101, "US", 16),
        "HighBit": (0x00280102, "US", 15),
        "PixelRepresentation": (0x00280103, "US", 1),
        "RescaleIntercept": (0x00281052, "DS", "-1024 "),
        "RescaleSlope": (0x00281053, "DS", "1 "),
    }
    made = b""
    for name, (tag, kind, default) in known.items():
        value = values.get(name, default)
        if value is not None:
            raw = struct.pack("<H", value) if isinstance(value, int) else value.encode()
            made += element(tag, kind, raw)
    return made + element(0x7FE00010, "OW", pixels, length=length)


@pytest.fixture
def stored() -> NDArray[np.int16]:
    """What the file of `dicom` holds, before rescaling."""
    return (np.arange(64).reshape(8, 8) * 20 + 500).astype("<i2")


@pytest.fixture
def dicom(stored: NDArray[np.int16]) -> Callable[..., bytes]:
    """A DICOM file of 8 x 8 pixels, of which any part can be another."""

    def make(
        *,
        values: Mapping[str, int | str] | None = None,
        before: bytes = b"",
        pixels: bytes | None = None,
        pixel_length: int | None = None,
        syntax: str = EXPLICIT,
        body: bytes | None = None,
    ) -> bytes:
        meta = element(0x00020010, "UI", syntax.encode() + b"\0" * (len(syntax) % 2))
        if body is None:
            data = stored.tobytes() if pixels is None else pixels
            body = before + _image_elements(values or {}, data, pixel_length)
        return b"\0" * 128 + b"DICM" + meta + body

    return make


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.fixture
def png() -> Callable[..., bytes]:
    """A PNG of stated size; `between` are chunks before the pixels, `packed` the pixels' bytes."""

    def make(
        *,
        width: int = 8,
        height: int = 8,
        depth: int = 8,
        colour: int = 0,
        between: bytes = b"",
        packed: bytes | None = None,
    ) -> bytes:
        if packed is None:
            packed = zlib.compress(b"".join(b"\0" + bytes(range(width)) for _ in range(height)))
        header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
        return (
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", header)
            + between
            + chunk(b"IDAT", packed)
            + chunk(b"IEND", b"")
        )

    return make


@pytest.fixture
def picture() -> Callable[[str], bytes]:
    """A picture in a format of Pillow's, of grey values that rise from left to right."""

    def make(form: str) -> bytes:
        buffer = io.BytesIO()
        values = np.tile(np.arange(32, dtype=np.uint8) * 8, (32, 1))
        Image.fromarray(values).save(buffer, format=form)
        return buffer.getvalue()

    return make


def _memory(which: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(which))


@pytest.fixture
def refuses() -> Callable[..., None]:
    """Checks that bytes are refused by an error of a class, in under a second and 64 MiB."""

    def check(data: bytes, error: type[SliceRefused], limits: Limits | None = None) -> None:
        # Sets the high-water mark down to what is in use now: proc_pid_clear_refs(5).
        Path("/proc/self/clear_refs").write_text("5")
        before, start = _memory("VmRSS"), time.perf_counter()
        with pytest.raises(error):
            read_slice(data, limits or Limits())
        assert time.perf_counter() - start < 1.0
        assert _memory("VmHWM") - before < 64 * 1024 * 1024

    return check


@pytest.fixture
def chunk_of() -> Callable[[bytes, bytes], bytes]:
    return chunk


@pytest.fixture
def element_of() -> Callable[..., bytes]:
    return element
