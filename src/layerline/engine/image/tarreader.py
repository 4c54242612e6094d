"""Tar archives from strangers, read once from front to back: ustar, GNU long names and PAX records.

Every number is checked, every length bounded, and nothing here touches a file. Unknown kinds (GNU's
old sparse files among them, as in docker) and what two readers might read differently are refused.
The time is proportional to the bytes read, whatever they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from layerline.engine.image.sparse_map import PIECES, MapInvalid, SparseHeader, SparseMap
from layerline.errors import ArchiveInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512
_LARGEST_EXTENSION = 1 << 20  # As in Go's archive/tar, which docker reads with.
_LONGEST_NAME = 4096
# Writers use one header for each of path, link and attributes; attributes of a file are a few.
MOST_EXTENSIONS = 16
MOST_RECORDS = 1024
_MOST_AFTER_END = 64 << 20  # Writers fill the last record, of 10 KiB by default.
# Of all members together: as many small files with attributes as a layer may have.
_FREE_RECORDS = 100_000
_RECORDS_OF_MEMBER = 16
_XATTR = b"SCHILY.xattr."
_PLAIN = b"0\x007"
_WITHOUT_DATA = b"123456"
_OCTAL = re.compile(rb"[0-7]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One member; `kind` is the type flag of ustar, `mtime` in seconds.

    `size` counts the holes of a sparse file.
    """

    name: bytes
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime: float
    target: bytes
    device: tuple[int, int]
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    is_sparse: bool = False


class Reader:
    """The members of a tar stream. The data of a member can be read until the next is requested.

    `position` is the offset in the stream; right after a member was yielded, that of its data.
    A member that claims more than `largest` bytes is refused before they are read.
    """

    def __init__(self, chunks: Iterator[bytes], *, largest: int = 1 << 62) -> None:
        self._chunks = chunks
        self._largest = largest
        self._records_left = _FREE_RECORDS
        self._buffer = memoryview(b"")
        self._left = 0
        self._padding = 0
        self._pieces: list[bytes] = []
        self._sparse: SparseMap | None = None
        self.position = 0

    def entries(self) -> Iterator[Entry]:
        """Yield all members, then read the stream to its end, which a digest over it needs."""
        records: dict[bytes, bytes] = {}
        extensions = 0
        while (block := self._next_header()) is not None:
            kind = block[156:157]
            size = _number(block[124:136], "size")
            if kind in (b"x", b"g", b"L", b"K"):
                extensions += 1
                if extensions > MOST_EXTENSIONS:
                    _refuse(f"a member has more than {MOST_EXTENSIONS} extension headers")
                self._extend(records, kind, self._extension(size))
            else:
                yield self._entry(block, size, records)
                records, extensions = {}, 0
                self._pieces = []
                self._records_left += _RECORDS_OF_MEMBER
        after = 0
        for chunk in self._chunks:
            after += len(chunk)
            if after > _MOST_AFTER_END:
                _refuse(f"more than {_MOST_AFTER_END} bytes follow its end")

    def data(self) -> Iterator[tuple[int, bytes | memoryview]]:
        """The bytes of the current member by their offsets; a sparse file has zeros elsewhere."""
        extents = iter([(0, self._left)] if self._sparse is None else self._sparse.extents)
        for start, length in extents:
            offset = start
            while offset < start + length:
                piece = self._some(start + length - offset)
                self._left -= len(piece)
                yield offset, piece
                offset += len(piece)

    def _extend(self, records: dict[bytes, bytes], kind: bytes, body: bytes) -> None:
        """Add what an extension header says of the next member; a global one ("g") is ignored."""
        if kind in (b"L", b"K"):
            records[b"path" if kind == b"L" else b"linkpath"] = body.rstrip(b"\0")
            return
        for count, (key, value) in enumerate(_records(body), 1):
            self._records_left -= 1
            if count > MOST_RECORDS or self._records_left < 0:
                _refuse("it has too many PAX records")
            if kind != b"x":
                continue
            if key not in PIECES:
                records[key] = value
            elif key == PIECES[len(self._pieces) % 2]:
                self._pieces.append(value)
            else:
                _refuse("invalid map of a sparse file")

    def _entry(self, block: bytes, size: int, records: dict[bytes, bytes]) -> Entry:
        kind = block[156:157]
        if kind == b"S":
            _refuse(
                "it has a sparse file in GNU tar's old format, which docker does not read either: "
                "pack it with --format=posix"
            )
        if kind not in _PLAIN and kind not in _WITHOUT_DATA:
            _refuse(f"it has a member of the unknown kind {kind!r}")
        size = 0 if kind in _WITHOUT_DATA else _decimal(records, b"size", size)
        self._check_size(size)
        self._left, self._padding = size, -size % BLOCK
        name = _name(records.get(b"path", _ustar_name(block)))
        try:
            sparse = SparseHeader.of(records, self._pieces)
            self._sparse = None
            if sparse is not None:
                if kind in _WITHOUT_DATA:
                    _refuse("what is sparse is not a file")
                self._sparse, self._left = sparse.sparse_map(size, self._exactly)
                name, size = _name(sparse.name) or name, self._sparse.size
                self._check_size(size)
        except MapInvalid as exc:
            _refuse(str(exc))
        return Entry(
            name=name,
            kind=_kind(kind, name),
            mode=_number(block[100:108], "mode") & 0o7777,
            uid=_decimal(records, b"uid", _number(block[108:116], "uid")),
            gid=_decimal(records, b"gid", _number(block[116:124], "gid")),
            size=size,
            mtime=_time(records.get(b"mtime"), block[136:148]),
            target=_name(records.get(b"linkpath", _text(block[157:257]))),
            device=(
                _number(block[329:337], "device") if kind in b"34" else 0,
                _number(block[337:345], "device") if kind in b"34" else 0,
            ),
            is_sparse=self._sparse is not None,
            xattrs={
                key.removeprefix(_XATTR): value
                for key, value in records.items()
                if key.startswith(_XATTR)
            },
        )

    def _check_size(self, size: int) -> None:
        if size > self._largest:
            _refuse(f"a member claims {size} bytes, the limit here is {self._largest}")

    def _next_header(self) -> bytes | None:
        while self._left:
            self._left -= len(self._some(self._left))
        self._exactly(self._padding)
        self._padding = 0
        block = self._exactly(BLOCK, at_end=True)
        if not block or not any(block):
            return None
        _check_sum(block)
        return block

    def _extension(self, size: int) -> bytes:
        if size > _LARGEST_EXTENSION:
            _refuse(f"a header extension has {size} bytes")
        body = self._exactly(size)
        self._exactly(-size % BLOCK)
        return body

    def _exactly(self, count: int, *, at_end: bool = False) -> bytes:
        pieces = []
        wanted = count
        while wanted:
            piece = self._some(wanted, at_end=at_end and wanted == count)
            if not piece:
                return b""
            pieces.append(bytes(piece))
            wanted -= len(piece)
        return b"".join(pieces)

    def _some(self, most: int, *, at_end: bool = False) -> memoryview:
        while not self._buffer:
            chunk = next(self._chunks, None)
            if chunk is None:
                if not at_end:
                    _refuse("it is cut short")
                return self._buffer
            self._buffer = memoryview(chunk)
        piece, self._buffer = self._buffer[:most], self._buffer[most:]
        self.position += len(piece)
        return piece


def _kind(flag: bytes, name: bytes) -> str:
    """Archives older than ustar mark a directory by the slash at its name's end."""
    if flag == b"\0" and name.endswith(b"/"):
        return "5"
    return "0" if flag in _PLAIN else flag.decode()


def _check_sum(block: bytes) -> None:
    total = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    if _number(block[148:156], "checksum") != total:
        _refuse("wrong checksum in a header")


def _records(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The records `LENGTH KEY=VALUE\\n` of a PAX header; the length counts itself."""
    start = 0
    while start < len(body):
        space = body.find(b" ", start, start + 8)
        digits = body[start:space]
        end = start + int(digits) if space > start and digits.isdigit() else start
        equals = body.find(b"=", space + 1, max(end - 1, 0))
        if not start < end <= len(body) or equals <= space + 1 or body[end - 1] != ord("\n"):
            _refuse("invalid PAX record")
        yield body[space + 1 : equals], body[equals + 1 : end - 1]
        start = end


def _number(raw: bytes, what: str) -> int:
    if raw[0] & 0x80:
        value = int.from_bytes(raw, "big") & ~(0x80 << 8 * (len(raw) - 1))
        if raw[0] & 0x40 or value >= 1 << 63:
            _refuse(f"a {what} is negative or too large")
        return value
    text = raw.strip(b" \0")
    if not text:
        return 0
    if not _OCTAL.fullmatch(text):
        _refuse(f"a {what} is not a number")
    return int(text, 8)


def _decimal(records: dict[bytes, bytes], key: bytes, default: int) -> int:
    text = records.get(key)
    if text is None:
        return default
    if not text.isdigit() or len(text) > 19:
        _refuse(f"the {key.decode()} of a PAX record is not a number")
    return int(text)


def _time(text: bytes | None, raw: bytes) -> float:
    if text is None:
        # Base-256 times before 1970 occur in honest archives; the header's sign bit says so.
        return 0.0 if raw[0] == 0xFF else float(_number(raw, "time"))
    seconds, _, fraction = text.removeprefix(b"-").partition(b".")
    if not seconds.isdigit() or len(seconds) > 12 or (fraction and not fraction.isdigit()):
        _refuse("the mtime of a PAX record is not a number")
    return 0.0 if text.startswith(b"-") else float(int(seconds))


def _ustar_name(block: bytes) -> bytes:
    name = _text(block[0:100])
    if block[257:263] != b"ustar\0":
        return name
    prefix = _text(block[345:500])
    return prefix + b"/" + name if prefix else name


def _text(raw: bytes) -> bytes:
    return raw.partition(b"\0")[0]


def _name(name: bytes) -> bytes:
    if b"\0" in name:
        _refuse("a name contains NUL")
    if len(name) > _LONGEST_NAME:
        _refuse(f"a name has {len(name)} bytes")
    return name


def _refuse(reason: str) -> NoReturn:
    message = f"the tar archive is refused: {reason}; check where it comes from"
    raise ArchiveInvalid(message)
