"""Zeros that take no space: long runs of them are left out of a file as holes."""

from __future__ import annotations

import os

_SHORTEST_HOLE = 1 << 16
_LONGEST = 1 << 20
_ZEROS = bytes(_LONGEST)


def is_zeros(data: bytes | memoryview) -> bool:
    """Whether the data are zeros only, and enough of them for a hole. At most 1 MiB are."""
    if not _SHORTEST_HOLE <= len(data) <= _LONGEST or data[0] or data[-1]:
        return False
    return _ZEROS.startswith(bytes(data))


def write_sparse(descriptor: int, data: bytes | memoryview) -> None:
    """Append data or leave a hole. The file is to be truncated to its size: its end may be one."""
    if is_zeros(data):
        os.lseek(descriptor, len(data), os.SEEK_CUR)
        return
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
