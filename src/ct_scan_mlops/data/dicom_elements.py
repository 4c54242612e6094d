"""The elements of a DICOM data set, one after another, in bounded time and memory.

No recursion and no copies: sequences of known length are stepped over, those of unknown length are
followed with a stack, which the limit on elements bounds too. Every length is held against what
there is.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from ct_scan_mlops.data.limits import Limits
from ct_scan_mlops.errors import SliceInvalid, SliceTooLarge, SliceUnsupported

_UNDEFINED: Final = 0xFFFFFFFF
_ITEM: Final = 0xFFFEE000
_ITEM_END: Final = 0xFFFEE00D
_SEQUENCE_END: Final = 0xFFFEE0DD

# PS3.5 7.1.2: those have two reserved bytes and a length of four.
_LONG: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SHORT: Final = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())


class Encoding(Enum):
    """Whether elements say of what kind they are. Both are little endian."""

    IMPLICIT = auto()
    EXPLICIT = auto()


@dataclass(frozen=True, slots=True)
class Element:
    """An element outside of sequences, its value as it is written, and where it ends."""

    tag: int
    value: memoryview
    end: int


@dataclass(frozen=True, slots=True)
class _Head:
    tag: int
    nests: bool
    length: int
    start: int
    inside: Encoding


@dataclass(frozen=True, slots=True)
class _Open:
    end_tag: int
    encoding: Encoding


def file_meta(data: memoryview, limits: Limits) -> Iterator[Element]:
    """The elements of group 2, which begin the file and are always explicit."""
    return _walk(data, Encoding.EXPLICIT, limits, only_group=b"\x02\x00")


def elements(data: memoryview, encoding: Encoding, limits: Limits) -> Iterator[Element]:
    """Ends with the data. What follows the last element that somebody wants need not be read."""
    return _walk(data, encoding, limits, only_group=b"")


def _walk(
    data: memoryview, encoding: Encoding, limits: Limits, *, only_group: bytes
) -> Iterator[Element]:
    at, stack, count = 0, list[_Open](), 0
    while at < len(data):
        if not stack and data[at : at + len(only_group)] != only_group:
            return
        count += 1
        if count > limits.max_elements:
            message = f"The DICOM file has more than {limits.max_elements} elements."
            raise SliceTooLarge(message)
        head = _head(data, at, stack[-1].encoding if stack else encoding)
        at = head.start
        if head.tag in (_ITEM_END, _SEQUENCE_END):
            _close(stack, head.tag)
        elif head.length == _UNDEFINED:
            _open(stack, head)
        else:
            at = _end(data, head)
            if not stack:
                yield Element(head.tag, data[head.start : at], at)
    if stack:
        message = "The DICOM file ends within a sequence. It was probably cut off."
        raise SliceInvalid(message)


def _head(data: memoryview, at: int, encoding: Encoding) -> _Head:
    try:
        group, number, kind, short = struct.unpack_from("<HH2sH", data, at)
        tag = group << 16 | number
        if encoding is Encoding.IMPLICIT or group == 0xFFFE:
            (length,) = struct.unpack_from("<I", data, at + 4)
            return _Head(tag, group != 0xFFFE, length, at + 8, encoding)
        if kind in _SHORT:
            return _Head(tag, False, short, at + 8, encoding)
        if kind in _LONG:
            (length,) = struct.unpack_from("<I", data, at + 8)
            # PS3.5 6.2.2: what is of unknown kind and length is written the implicit way.
            inside = Encoding.IMPLICIT if kind == b"UN" else encoding
            return _Head(tag, kind in (b"SQ", b"UN"), length, at + 12, inside)
    except struct.error as failure:
        message = "The DICOM file ends within the head of an element. It was probably cut off."
        raise SliceInvalid(message) from failure
    message = f"Element ({group:04X},{number:04X}) of the DICOM file is of no known kind."
    raise SliceInvalid(message)


def _close(stack: list[_Open], tag: int) -> None:
    if not stack or stack.pop().end_tag != tag:
        message = "A sequence of the DICOM file ends where none has begun."
        raise SliceInvalid(message)


def _open(stack: list[_Open], head: _Head) -> None:
    if head.tag == _ITEM and stack:
        stack.append(_Open(_ITEM_END, head.inside))
    elif head.nests:
        stack.append(_Open(_SEQUENCE_END, head.inside))
    else:
        message = "The DICOM file's pixels are compressed. Send it uncompressed (gdcmconv --raw)."
        raise SliceUnsupported(message)


def _end(data: memoryview, head: _Head) -> int:
    end = head.start + head.length
    if end > len(data):
        message = (
            f"Element ({head.tag >> 16:04X},{head.tag & 0xFFFF:04X}) of the DICOM file should have "
            f"{head.length} bytes, and {len(data) - head.start} are left. It was probably cut off."
        )
        raise SliceInvalid(message)
    return end
