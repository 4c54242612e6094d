"""Zeros that take no space: long runs of them are left out of a file as holes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOLE = 1 << 16
_ZEROS = bytes(_HOLE)


def count_data(data: bytes | memoryview) -> int:
    """The number of bytes outside of holes."""
    return sum(len(run) for run, is_hole in _runs(memoryview(data)) if not is_hole)


def write_sparse(descriptor: int, data: bytes | memoryview) -> None:
    """Append data, with holes in it. Truncate the file to its size at its end: it may be one."""
    for run, is_hole in _runs(memoryview(data)):
        if is_hole:
            os.lseek(descriptor, len(run), os.SEEK_CUR)
            continue
        rest = run
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def _runs(data: memoryview) -> Iterator[tuple[memoryview, bool]]:
    """The data in runs, and whether each is a hole: blocks of zeros follow each other in it."""
    start, was_hole = 0, False
    for at in range(0, len(data), _HOLE):
        block = data[at : at + _HOLE]
        is_hole = len(block) == _HOLE and not block[0] and not block[-1] and block == _ZEROS
        if is_hole != was_hole and at > start:
            yield data[start:at], was_hole
            start = at
        was_hole = is_hole
    yield data[start:], was_hole
