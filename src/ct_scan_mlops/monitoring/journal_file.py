"""The window's file: SQLite, opened so that a commit is durable, and verified before it is used.

WAL with synchronous=FULL keeps every commit over a loss of power. One process at a time: SQLite's
own lock is held as long as the file is open, and dies with the process.

A file that is torn, damaged, of another version, or no window at all is renamed and kept, and a
new one begun. So is the window of another reference, since another model's embeddings are not
comparable.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import stat
import zlib
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ct_scan_mlops.errors import OutputUnwritable
from ct_scan_mlops.outputs import output_directory

if TYPE_CHECKING:
    from pathlib import Path

    from ct_scan_mlops.monitoring.reference import Reference

NAME = "drift-window.sqlite"
# What SQLite keeps beside the file, and would take for parts of the next one of that name.
SUFFIXES = ("", "-wal", "-shm", "-journal")
APPLICATION = 0x43545744
VERSION = 1
MOST_BYTES = 1024**3
BUSY_SECONDS = 1.0
# JSON's whole numbers are exact up to here; SQLite's end later.
LAST_NUMBER = 2**53

SCHEMA = {
    "CREATE TABLE about (reference TEXT NOT NULL)",
    "CREATE TABLE observation (number INTEGER PRIMARY KEY,"
    " features BLOB NOT NULL, embedding BLOB, crc INTEGER NOT NULL)",
}
IN_USE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
# The content's fault; all others are failures to get at it, and another file would fare no better.
DAMAGED = {
    *(sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB),
    *(sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_MISMATCH),
}


class _NotOurs(OutputUnwritable):
    """What stands under the window's name cannot be used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opened:
    """A file that can be used. `notice` says what had to be set aside for it."""

    connection: sqlite3.Connection
    path: Path
    notice: str | None


def opened_in(directory: Path, reference: Reference) -> Opened:
    """The window's file in `directory`; raises OutputUnwritable where nothing can be kept."""
    path = output_directory(directory) / NAME
    notice = None
    try:
        connection = _opened(path, reference)
    except _NotOurs as problem:
        kept = _set_aside(path)
        notice = f"{path} {problem}. It is now {kept.name}, and the window begins anew."
        connection = _opened(path, reference)
    _sync(directory)
    return Opened(connection=connection, path=path, notice=notice)


def _opened(path: Path, reference: Reference) -> sqlite3.Connection:
    _require_files(path)
    try:
        # Several threads use it, one at a time.
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
    except sqlite3.Error as failure:
        raise unwritable(path, failure) from failure
    with ExitStack() as unless_sound:
        unless_sound.callback(connection.close)
        try:
            _prepare(connection, reference)
            _verify(connection, reference)
        except sqlite3.Error as failure:
            if _primary_code(failure) not in DAMAGED:
                raise unwritable(path, failure) from failure
            message = f"is damaged ({failure})"
            raise _NotOurs(message) from failure
        unless_sound.pop_all()
    return connection


def _require_files(path: Path) -> None:
    for part in _parts(path):
        with suppress(FileNotFoundError):
            status = part.lstat()
            if not stat.S_ISREG(status.st_mode):
                message = "is no file"
                raise _NotOurs(message)
            if status.st_size > MOST_BYTES:
                message = f"has more than {MOST_BYTES:,} bytes"
                raise _NotOurs(message)


def _prepare(connection: sqlite3.Connection, reference: Reference) -> None:
    for pragma in ("trusted_schema=OFF", "locking_mode=EXCLUSIVE", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("PRAGMA journal_mode=WAL")
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables:
        return
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id={APPLICATION}")
        connection.execute(f"PRAGMA user_version={VERSION}")
        for statement in sorted(SCHEMA):
            connection.execute(statement)
        connection.execute("INSERT INTO about VALUES (?)", (reference.identity,))


def _verify(connection: sqlite3.Connection, reference: Reference) -> None:
    """From the outside in: no table is asked before its definition is known to be ours."""
    if _pragma(connection, "application_id") != APPLICATION:
        message = "is no window of observations"
        raise _NotOurs(message)
    if (version := _pragma(connection, "user_version")) != VERSION:
        message = f"is of version {version}, and version {VERSION} is read"
        raise _NotOurs(message)
    schema = connection.execute("SELECT sql FROM sqlite_schema")
    if {sql for (sql,) in schema} != SCHEMA or _pragma(connection, "quick_check(1)") != "ok":
        message = "is damaged"
        raise _NotOurs(message)
    about = connection.execute("SELECT reference FROM about LIMIT 2").fetchall()
    if about != [(reference.identity,)]:
        message = "is of another reference"
        raise _NotOurs(message)
    rows = connection.execute("SELECT number, features, embedding, crc FROM observation")
    for number, *row in rows:
        if not _sound(number, *row, reference=reference):
            message = f"has a damaged observation ({number})"
            raise _NotOurs(message)


def _pragma(connection: sqlite3.Connection, name: str) -> object:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return value


def checksum(features: bytes, embedding: bytes | None) -> int:
    return zlib.crc32(embedding or b"", zlib.crc32(features))


def _sound(
    number: int, features: object, embedding: object, crc: object, *, reference: Reference
) -> bool:
    return (
        0 < number < LAST_NUMBER
        and isinstance(features, bytes)
        and isinstance(embedding, bytes | None)
        and len(features) == 8 * len(reference.names)
        and (embedding is None or len(embedding) == 4 * reference.embedding_width)
        and crc == checksum(features, embedding)
    )


def _parts(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in SUFFIXES]


def _set_aside(path: Path) -> Path:
    names = (f"{path.name}.aside-{number}" for number in itertools.count(1))
    kept = next(path.with_name(name) for name in names if not os.path.lexists(path.with_name(name)))
    try:
        # The file itself last: if we are killed between, the next start does the rest.
        for part, suffix in reversed(list(zip(_parts(path), SUFFIXES, strict=True))):
            with suppress(FileNotFoundError):
                part.rename(kept.with_name(kept.name + suffix))
    except OSError as failure:
        raise unwritable(path, failure) from failure
    return kept


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _primary_code(failure: sqlite3.Error) -> int:
    # Absent where not SQLite but Python found the fault, such as text that is no UTF-8.
    return getattr(failure, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF


def unwritable(path: Path, failure: Exception) -> OutputUnwritable:
    if isinstance(failure, sqlite3.Error) and _primary_code(failure) in IN_USE:
        message = f"{path} is in use by another process. Give each a STATE_DIR of its own."
        return OutputUnwritable(message)
    whose = "It does not exist"
    with suppress(OSError):
        owner = path.lstat()
        whose = f"It belongs to {owner.st_uid}:{owner.st_gid}"
    message = (
        f"{path} cannot be written ({failure}). {whose}, this process runs as "
        f"{os.geteuid()}:{os.getegid()}. Give it to that user, make room on its disk, or mount "
        "another directory at STATE_DIR."
    )
    return OutputUnwritable(message)
