"""The paths in git's index: what is tracked, whatever `.gitignore` says.

The format is that of `Documentation/gitformat-index.txt` in git, versions 2 to 4.
"""

import struct

_HEADER = struct.Struct(">4sLL")
_STATS_AND_NAME = 62  # bytes before the path, with a SHA-1 and without extended flags
_FLAGS = struct.Struct(">H")
_EXTENDED = 0x4000
_EXTENDED_BYTES = 2


def tracked_paths(index: bytes) -> set[str]:
    """The tracked paths; empty for an index of another format, such as one with SHA-256."""
    try:
        return _paths(index)
    except (struct.error, ValueError, IndexError):
        return set()


def _paths(index: bytes) -> set[str]:
    signature, version, count = _HEADER.unpack_from(index)
    if signature != b"DIRC" or version not in (2, 3, 4):
        return set()
    found: set[str] = set()
    at, name = _HEADER.size, b""
    for _ in range(count):
        begin = at
        at += _STATS_AND_NAME
        (flags,) = _FLAGS.unpack_from(index, at - _FLAGS.size)
        at += _EXTENDED_BYTES * bool(flags & _EXTENDED)
        kept = 0
        if version == 4:
            removed, at = _offset(index, at)
            kept = len(name) - removed
        end = index.index(b"\0", at)
        name = name[:kept] + index[at:end]
        found.add(name.decode("utf-8", "surrogateescape"))
        # Up to version 3, an entry is padded with one to eight NULs to a multiple of eight bytes.
        at = end + 1 if version == 4 else begin + (end - begin + 8) // 8 * 8
    return found


def _offset(index: bytes, at: int) -> tuple[int, int]:
    """A number as pack files have it for offsets, and where it ends."""
    byte = index[at]
    value = byte & 127
    while byte & 128:
        at += 1
        byte = index[at]
        value = (value + 1) << 7 | byte & 127
    return value, at + 1
