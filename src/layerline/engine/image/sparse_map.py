"""Sparse files in PAX archives, as GNU tar writes them: versions 0.0, 0.1 and 1.0 of its maps.

The rules are those of Go's archive/tar, which docker and BuildKit read with. A version that it does
not know is an ordinary file, as there.
https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_KEY = b"GNU.sparse."
PIECES = (_KEY + b"offset", _KEY + b"numbytes")  # Of version 0.0: they alternate.
_MAP = _KEY + b"map"
BLOCK = 512
# Go takes a map of at most 1 MiB.
_MOST_EXTENTS = 1 << 16
_MOST_DIGITS = 19


class MapInvalid(ValueError):
    """The map of a sparse file contradicts itself, or is too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseMap:
    """Where the stored bytes of a file belong: offsets and lengths, in bytes, in order."""

    size: int
    extents: tuple[tuple[int, int], ...]

    def check(self, stored: int) -> None:
        """Raise MapInvalid unless the extents lie in the file and are what is stored."""
        end = 0
        for offset, length in self.extents:
            if offset < end or offset + length > self.size:
                message = "the extents of a sparse file overlap or exceed it"
                raise MapInvalid(message)
            end = offset + length
        if sum(length for _, length in self.extents) != stored:
            message = "a sparse file has other bytes stored than its map says"
            raise MapInvalid(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseHeader:
    """What the PAX records say of a sparse file; the map of version 1.0 (`in_data`) precedes it."""

    name: bytes
    size: int | None
    in_data: bool
    numbers: Sequence[bytes]
    count: bytes

    @classmethod
    def of(cls, records: Mapping[bytes, bytes], pieces: Sequence[bytes]) -> SparseHeader | None:
        """Read the records of a member; None where it is not sparse."""
        version = records.get(_KEY + b"major", b""), records.get(_KEY + b"minor", b"")
        numbers = list(pieces) or records.get(_MAP, b"").split(b",")
        if version not in ((b"1", b"0"), (b"0", b"0"), (b"0", b"1")) and (
            any(version) or not numbers[0]
        ):
            return None
        size = records.get(_KEY + b"size") or records.get(_KEY + b"realsize")
        return cls(
            name=records.get(_KEY + b"name", b""),
            size=None if size is None else _number(size),
            in_data=version == (b"1", b"0"),
            numbers=[] if numbers == [b""] else numbers,
            count=records.get(_KEY + b"numblocks", b""),
        )

    def sparse_map(self, stored: int, read: Callable[[int], bytes]) -> tuple[SparseMap, int]:
        """The checked map, and how many of the stored bytes follow it; `read` reads the data."""
        if self.in_data:
            numbers, used = _numbers_in_data(stored, read)
        else:
            numbers, used = [_number(text) for text in self.numbers], 0
            if len(numbers) != 2 * _number(self.count):
                message = "the map of a sparse file has another length than its header says"
                raise MapInvalid(message)
        extents = tuple(zip(numbers[::2], numbers[1::2], strict=True))
        made = SparseMap(size=stored if self.size is None else self.size, extents=extents)
        made.check(stored - used)
        return made, stored - used


def _numbers_in_data(stored: int, read: Callable[[int], bytes]) -> tuple[list[int], int]:
    """The numbers of a map that precedes the data, and the bytes of the blocks that it takes.

    The first is the count of extents; each number ends with a newline.
    """
    numbers: list[int] = []
    used, wanted = 0, 1
    rest = b""
    while len(numbers) < wanted:
        used += BLOCK
        if used > stored or len(rest) > _MOST_DIGITS:
            message = "the map of a sparse file does not end"
            raise MapInvalid(message)
        *lines, rest = (rest + read(BLOCK)).split(b"\n")
        for line in lines:
            if len(numbers) == wanted:  # the last block is filled up
                break
            numbers.append(_number(line))
            wanted = 1 + 2 * numbers[0]
        if numbers and numbers[0] > _MOST_EXTENTS:
            message = f"a sparse file has more than {_MOST_EXTENTS} extents"
            raise MapInvalid(message)
    return numbers[1:], used


def _number(text: bytes) -> int:
    if not text.isdigit() or len(text) > _MOST_DIGITS:
        message = "the map of a sparse file has something that is not a number"
        raise MapInvalid(message)
    return int(text)
