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
    fields = (
        member.name[:_LONGEST_NAME].ljust(100, b"\0"),
        _octal(member.mode, 8),
        _octal(member.uid if member.uid <= _LARGEST_ID else 0, 8),
        _octal(member.gid if member.gid <= _LARGEST_ID else 0, 8),
        _octal(member.size if member.size <= _LARGEST_SIZE else 0, 12),
        _octal(member.mtime if member.mtime <= _LARGEST_SIZE else 0, 12),
        b" " * 8,
        member.kind.encode(),
        member.target[:_LONGEST_NAME].ljust(100, b"\0"),
        b"ustar\x0000",
        b"\0" * 64,
        _octal(member.device[0], 8),
        _octal(member.device[1], 8),
        b"\0" * 167,
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _octal(number: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, number)
