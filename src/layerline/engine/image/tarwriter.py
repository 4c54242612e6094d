"""Tar members as bytes, the same on every machine: ustar, with PAX where ustar falls short."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

BLOCK = 512
_LONGEST_NAME = 100
_LARGEST_ID = 0o7777777
_LARGEST_SIZE = 0o77777777777

REGULAR = "0"
HARDLINK = "1"
SYMLINK = "2"
CHARACTER = "3"
BLOCK_DEVICE = "4"
DIRECTORY = "5"
FIFO = "6"
_PAX = "x"
# The magic, the version, and the names of the owner and the group, which are empty.
_USTAR = b"ustar\x0000" + b"\0" * 64
_REST = b"\0" * 167
_CHECKSUM_AS_SPACES = 8 * ord(" ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One entry of an archive. `mtime` is in seconds since the epoch."""

    name: bytes
    kind: str = REGULAR
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)


def header(member: Member) -> bytes:
    """The header blocks of a member, with PAX records where ustar has no room."""
    records: dict[bytes, bytes] = {
        b"SCHILY.xattr." + name: value for name, value in member.xattrs.items()
    }
    if len(member.name) > _LONGEST_NAME:
        records[b"path"] = member.name
    if len(member.target) > _LONGEST_NAME:
        records[b"linkpath"] = member.target
    for key, number, largest in (
        (b"uid", member.uid, _LARGEST_ID),
        (b"gid", member.gid, _LARGEST_ID),
        (b"size", member.size, _LARGEST_SIZE),
        (b"mtime", member.mtime, _LARGEST_SIZE),
    ):
        if number > largest:
            records[key] = b"%d" % number
    return _pax_header(member, records) + _ustar(member)


def padding(size: int) -> bytes:
    """The zero bytes after `size` bytes of data."""
    return b"\0" * (-size % BLOCK)


def member_size(size: int) -> int:
    """The bytes that a member with `size` bytes of data takes, with a header without PAX."""
    return BLOCK + size + -size % BLOCK


END = b"\0" * (2 * BLOCK)


def _pax_header(member: Member, records: Mapping[bytes, bytes]) -> bytes:
    if not records:
        return b""
    body = b"".join(_record(key, records[key]) for key in sorted(records))
    name = b"PaxHeaders.0/" + member.name.rstrip(b"/").rpartition(b"/")[2][:80]
    carrier = Member(name=name, kind=_PAX, size=len(body))
    return _ustar(carrier) + body + padding(len(body))


def _record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    length = len(body) + 1
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return str(length).encode() + body


def _ustar(member: Member) -> bytes:
    start = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        member.name[:_LONGEST_NAME].ljust(100, b"\0"),
        member.mode,
        member.uid if member.uid <= _LARGEST_ID else 0,
        member.gid if member.gid <= _LARGEST_ID else 0,
        member.size if member.size <= _LARGEST_SIZE else 0,
        member.mtime if member.mtime <= _LARGEST_SIZE else 0,
    )
    end = b"%b%b%b%07o\0%07o\0%b" % (
        member.kind.encode(),
        member.target[:_LONGEST_NAME].ljust(100, b"\0"),
        _USTAR,
        *member.device,
        _REST,
    )
    return b"%b%06o\0 %b" % (start, sum(start) + sum(end) + _CHECKSUM_AS_SPACES, end)
