"""Files that are meant to hurt whoever decodes them."""

from __future__ import annotations

import struct
import zlib

PNG = b"\x89PNG\r\n\x1a\n"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"


def png(width: int, height: int, *, compressed: bytes) -> bytes:
    """A PNG in shades of grey whose header need not fit its data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return PNG + _chunk(b"IHDR", header) + _chunk(b"IDAT", compressed) + _chunk(b"IEND", b"")


def png_bomb(*, pixels: int, size: int) -> bytes:
    """A PNG of about `size` bytes that asks for `pixels` bytes of memory."""
    width = 1 << 15
    packer = zlib.compressobj(9)
    zeros = bytes(1 << 20)
    compressed = b""
    while len(compressed) < size:
        compressed += packer.compress(zeros) + packer.flush(zlib.Z_SYNC_FLUSH)
    return png(width, pixels // width, compressed=compressed[:size])


def dicom(rows: int, columns: int) -> bytes:
    """A CT image of 16 bits whose pixel data is far too short for its size."""
    meta = _element(0x0002, 0x0002, b"UI", _text(CT_IMAGE))
    meta += _element(0x0002, 0x0003, b"UI", _text("1.2.3"))
    meta += _element(0x0002, 0x0010, b"UI", _text(EXPLICIT_LITTLE))
    length = _element(0x0002, 0x0000, b"UL", struct.pack("<I", len(meta)))
    image = b"".join(
        _element(0x0028, number, b"US", struct.pack("<H", value))
        for number, value in (
            *((0x0002, 1), (0x0010, rows), (0x0011, columns)),
            *((0x0100, 16), (0x0101, 16), (0x0102, 15), (0x0103, 0)),
        )
    )
    photometric = _element(0x0028, 0x0004, b"CS", b"MONOCHROME2 ")
    head, tail = image[:10], image[10:]
    return bytes(128) + b"DICM" + length + meta + head + photometric + tail + _pixels(bytes(64))


def _pixels(data: bytes) -> bytes:
    return struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, len(data)) + data


def _element(group: int, number: int, kind: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", group, number, kind, len(value)) + value


def _text(value: str) -> bytes:
    data = value.encode()
    return data + b"\0" * (len(data) % 2)


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum
