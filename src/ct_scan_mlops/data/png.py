"""PNG files, measured by their chunks before Pillow sees them.

What Pillow gets is a file put together from the few chunks a slice needs. So nothing of an
animation, of compressed text or of a colour profile is ever unpacked.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from ct_scan_mlops.data.limits import Limits, Pixels
from ct_scan_mlops.errors import SliceInvalid, SliceTooLarge, SliceUnsupported

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _GREY_ALPHA, _RGB, _RGBA = 0, 4, 2, 6
_PIECE_BYTES = 64 * 1024
_CHANNELS = {_GREY: 1, _GREY_ALPHA: 2, _RGB: 3, _RGBA: 4}


@dataclass(frozen=True, slots=True)
class _Chunk:
    kind: bytes
    start: int
    data: memoryview
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    width: int
    height: int
    depth: int
    channels: int
    interlaced: bool

    def inflated_bytes(self) -> int:
        """What the image data unpacks to; interlacing adds a filter byte per row and pass."""
        row = (self.width * self.depth * self.channels + 7) // 8
        rows = self.height * (2 if self.interlaced else 1) + 8
        return self.height * row + rows + (self.height * 8 if self.interlaced else 0)


def read_png(data: bytes, limits: Limits) -> Pixels:
    chunks = list(_chunks(memoryview(data), limits))
    header = _header(chunks, limits)
    _refuse_animation(chunks)
    _measure_pixels(chunks, header)
    return _decoded(data, chunks, header)


def _chunks(data: memoryview, limits: Limits) -> Iterator[_Chunk]:
    """The chunks in their order; what is no part of the picture counts against max_text_bytes."""
    at, beside, count = len(_SIGNATURE), 0, 0
    while at < len(data):
        if at + 12 > len(data):
            message = "The PNG ends within the head of a chunk. It was probably cut off."
            raise SliceInvalid(message)
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            message = "The PNG ends within a chunk. It was probably cut off; send the whole file."
            raise SliceInvalid(message)
        count += 1
        if kind not in (b"IHDR", b"IDAT", b"IEND"):
            beside += length
        if beside > limits.max_text_bytes or count > limits.max_elements:
            message = "The PNG has too much beside its pixels (text, profiles). Save it without."
            raise SliceTooLarge(message)
        yield _Chunk(kind, at, data[at + 8 : end - 4], end)
        if kind == b"IEND":
            return
        at = end
    message = "The PNG has no end. It was probably cut off; send the whole file."
    raise SliceInvalid(message)


def _header(chunks: list[_Chunk], limits: Limits) -> _Header:
    if chunks[0].kind != b"IHDR" or len(chunks[0].data) != 13:
        message = "The PNG does not begin with its header."
        raise SliceInvalid(message)
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", chunks[0].data)
    if not 0 < width <= limits.max_side or not 0 < height <= limits.max_side:
        message = f"The PNG has {width} x {height} pixels; a side has 1 to {limits.max_side}."
        raise SliceTooLarge(message)
    if width * height > limits.max_pixels:
        message = f"The PNG has {width * height} pixels, a slice may have {limits.max_pixels}."
        raise SliceTooLarge(message)
    if colour not in _CHANNELS or depth not in (8, 16) or (depth == 16 and colour != _GREY):
        message = (
            "This kind of PNG is not read. Save it as greyscale of 8 or 16 bits, or as RGB of 8."
        )
        raise SliceUnsupported(message)
    return _Header(
        width=width,
        height=height,
        depth=depth,
        channels=_CHANNELS[colour],
        interlaced=bool(interlace),
    )


def _refuse_animation(chunks: list[_Chunk]) -> None:
    if any(chunk.kind in (b"acTL", b"fcTL", b"fdAT") for chunk in chunks):
        message = "The PNG is animated. Send one slice as a still PNG."
        raise SliceUnsupported(message)


def _measure_pixels(chunks: list[_Chunk], header: _Header) -> None:
    """Unpacks the image data piece by piece, keeps none, and stops as soon as it is too much."""
    unpacker, expected, seen = zlib.decompressobj(), header.inflated_bytes(), 0
    for piece in _pieces(chunks):
        pending: bytes | memoryview = piece
        while pending and not unpacker.eof:
            try:
                seen += len(unpacker.decompress(pending, _PIECE_BYTES))
            except zlib.error as failure:
                message = "The PNG's pixels cannot be unpacked. The file is damaged."
                raise SliceInvalid(message) from failure
            pending = unpacker.unconsumed_tail
            if seen > expected:
                message = f"The PNG's pixels unpack to more than the {expected} bytes of its size."
                raise SliceTooLarge(message)


def _pieces(chunks: list[_Chunk]) -> Iterator[memoryview]:
    """Small ones: what is left over of a piece is copied each time."""
    for chunk in chunks:
        if chunk.kind == b"IDAT":
            for start in range(0, len(chunk.data), _PIECE_BYTES):
                yield chunk.data[start : start + _PIECE_BYTES]


def _decoded(data: bytes, chunks: list[_Chunk], header: _Header) -> Pixels:
    # Of headers the one that was measured, and no second.
    kept = [chunks[0], *(chunk for chunk in chunks if chunk.kind in (b"IDAT", b"IEND"))]
    needed = [data[chunk.start : chunk.end] for chunk in kept]
    try:
        with Image.open(io.BytesIO(_SIGNATURE + b"".join(needed)), formats=["PNG"]) as image:
            values = np.asarray(image if header.channels == 1 else image.convert("L"))
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as failure:
        message = "The PNG is damaged: its pixels cannot be decoded. Export the slice again."
        raise SliceInvalid(message) from failure
    return values.astype(np.float32) / np.float32(2**header.depth - 1)
