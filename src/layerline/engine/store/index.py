"""The index of the store: JSON documents by table and key, in SQLite.

Invariant: a row survives a power cut once it is put, and a damaged row, page or file is a miss,
never a wrong hit. A row names the snapshots it depends on, and is a hit only while all of them are
intact.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline import log
from layerline.engine.store.digest import canonical
from layerline.engine.store.disk_errors import is_disk_full, storage_error
from layerline.errors import StoreBusy, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from layerline.engine.store.locks import Locks
    from layerline.errors import LayerlineError

_BUSY_SECONDS = 60.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (
    place BLOB NOT NULL,
    key BLOB NOT NULL,
    document BLOB NOT NULL,
    snapshots BLOB NOT NULL,
    checksum BLOB NOT NULL,
    PRIMARY KEY (place, key)
) WITHOUT ROWID
"""
_OUTSIDE_FAULTS = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_INTERRUPT,
}

Document = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row that matches its checksum, whether or not its snapshots are intact."""

    table: str
    key: str
    document: Document
    snapshots: tuple[str, ...]


class Index:
    """The rows. Safe for threads; processes share the file.

    `is_intact` says whether a snapshot can be used. `use` is called with the snapshots of each hit.
    """

    def __init__(
        self,
        path: Path,
        locks: Locks,
        is_intact: Callable[[str], bool],
        use: Callable[[list[str]], None] = lambda _: None,
    ) -> None:
        self._path = path
        self._locks = locks
        self._is_intact = is_intact
        self._use = use
        self._mutex = threading.Lock()
        self._database = self._connect()

    def get(self, table: str, key: str) -> Document | None:
        """The document, or None if there is not a valid one."""
        statement = "SELECT document, snapshots, checksum FROM rows WHERE place = ? AND key = ?"
        found = self._execute(statement, (table.encode(), key.encode()))
        if not found:
            return None
        valid = self._validate(table.encode(), key.encode(), found[0])
        if valid is None:
            return None
        document, snapshots = valid
        self._use(snapshots)
        return document

    def put(
        self, table: str, key: str, document: Document, *, snapshots: Sequence[str] = ()
    ) -> None:
        """Record a document, durably. It is valid while all of `snapshots` are intact."""
        row = (table.encode(), key.encode(), canonical(document), canonical(list(snapshots)))
        statement = "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?)"
        self._execute(statement, (*row, _checksum(*row)))

    def scan(self, table: str) -> Iterator[tuple[str, Document]]:
        """The valid documents of a table, by key."""
        statement = (
            "SELECT key, document, snapshots, checksum FROM rows WHERE place = ? ORDER BY key"
        )
        for key, *row in self._execute(statement, (table.encode(),)):
            if not isinstance(key, bytes):
                continue
            valid = self._validate(table.encode(), key, row)
            if valid is not None:
                yield key.decode(), valid[0]

    def rows(self) -> Iterator[Row]:
        """All rows that match their checksum."""
        for row in self._execute("SELECT place, key, document, snapshots, checksum FROM rows", ()):
            fields = [field for field in row if isinstance(field, bytes)]
            if _matches_checksum(row):
                table, key, document, snapshots, _ = fields
                yield Row(
                    table=table.decode(),
                    key=key.decode(),
                    document=json.loads(document),
                    snapshots=tuple(json.loads(snapshots)),
                )

    def remove(self, keys: Iterable[tuple[str, str]]) -> None:
        """Remove rows by their tables and keys."""
        self._delete([(table.encode(), key.encode()) for table, key in keys])

    def check_rows(self, *, drop: bool = False) -> int:
        """The number of rows that do not match their checksum; `drop` removes them."""
        rows = self._execute("SELECT place, key, document, snapshots, checksum FROM rows", ())
        bad = [row for row in rows if not _matches_checksum(row)]
        for place, key, *_ in bad if drop else ():
            self._execute("DELETE FROM rows WHERE place = ? AND key = ?", (place, key))
        return len(bad)

    def forget_lost(self) -> int:
        """Remove the rows whose snapshots are gone, and return their number."""
        rows = self._execute(
            "SELECT place, key, snapshots FROM rows WHERE snapshots != ?", (b"[]",)
        )
        lost = [
            (place, key)
            for place, key, names in rows
            if isinstance(names, bytes) and not self._all_intact(names)
        ]
        self._delete(lost)
        return len(lost)

    def _delete(self, keys: list[tuple[object, object]]) -> None:
        try:
            with self._mutex:
                self._database.execute("BEGIN IMMEDIATE")
                self._database.executemany("DELETE FROM rows WHERE place = ? AND key = ?", keys)
                self._database.execute("COMMIT")
        except sqlite3.DatabaseError as exc:
            raise _failure(exc, self._path) from exc

    def _all_intact(self, names: bytes) -> bool:
        try:
            return all(self._is_intact(name) for name in json.loads(names))
        except (ValueError, TypeError):
            return False  # damaged: no lookup returns it

    def close(self) -> None:
        """Close the connection."""
        with self._mutex:
            self._database.close()

    def _validate(
        self, table: bytes, key: bytes, row: Sequence[object]
    ) -> tuple[Document, list[str]] | None:
        """The document and the snapshots that it depends on, or None if the row is not valid."""
        document, snapshots, checksum = row
        if not isinstance(document, bytes) or not isinstance(snapshots, bytes):
            return None  # a flipped bit in a cell's header makes it a number
        if checksum != _checksum(table, key, document, snapshots):
            log.debug("ignoring a damaged row of %s", table)
            return None
        names: list[str] = json.loads(snapshots)
        if not all(self._is_intact(name) for name in names):
            return None
        return json.loads(document), names

    def _execute(self, statement: str, values: Sequence[object]) -> list[tuple[object, ...]]:
        """Run one statement as a transaction; a damaged file is replaced by an empty one, once."""
        with self._mutex:
            try:
                return self._database.execute(statement, values).fetchall()
            except sqlite3.DatabaseError as exc:
                if not _means_damage(exc):
                    raise _failure(exc, self._path) from exc
                self._replace(self._database)
            try:
                return self._database.execute(statement, values).fetchall()
            except sqlite3.DatabaseError as exc:
                raise _failure(exc, self._path) from exc

    def _connect(self) -> sqlite3.Connection:
        try:
            return self._open()
        except sqlite3.DatabaseError as exc:
            if not _means_damage(exc):
                raise _failure(exc, self._path) from exc
        self._replace(None)
        return self._database

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            database.text_factory = bytes
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute(_SCHEMA)
        except sqlite3.DatabaseError:
            database.close()
            raise
        return database

    def _replace(self, database: sqlite3.Connection | None) -> None:
        """Set the damaged file aside for an empty one, unless another process has done so."""
        if database is not None:
            database.close()
        with self._locks.exclusive("index damage", timeout=_BUSY_SECONDS):
            try:
                self._database = self._open()
                if self._is_sound(self._database):
                    return
                self._database.close()
            except sqlite3.DatabaseError as exc:
                if not _means_damage(exc):
                    raise _failure(exc, self._path) from exc
            log.debug("the index is damaged: recreating it; blobs and volumes are untouched")
            for suffix in ("", "-wal", "-shm"):
                part = self._path.with_name(self._path.name + suffix)
                with contextlib.suppress(FileNotFoundError):  # not every index has a log
                    part.replace(part.with_name(f"damaged-{part.name}"))
            self._database = self._open()

    @staticmethod
    def _is_sound(database: sqlite3.Connection) -> bool:
        return database.execute("PRAGMA integrity_check(1)").fetchall() == [(b"ok",)]


def _matches_checksum(row: Sequence[object]) -> bool:
    *parts, checksum = row
    fields = [part for part in parts if isinstance(part, bytes)]
    return len(fields) == len(parts) and checksum == _checksum(*fields)


def _checksum(*parts: bytes) -> bytes:
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "big"))
        hasher.update(part)
    return hasher.digest()


def _means_damage(exc: sqlite3.DatabaseError) -> bool:
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return (code & 0xFF) not in _OUTSIDE_FAULTS


def _failure(exc: sqlite3.DatabaseError, path: Path) -> LayerlineError:
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(f"{path} is locked by another run: wait for it to finish, or stop it")
    number = _cause(code, path.parent)
    if number is None:
        return StoreError(f"{path}: {exc}: check the disk of the store")
    cause = OSError(number, os.strerror(number), str(path))
    return storage_error(cause, "failed to write the index", path)


def _cause(code: int, directory: Path) -> int | None:
    """The number of the system call's error behind SQLite's; SQLite reports several as one."""
    disk = os.statvfs(directory)
    if code == sqlite3.SQLITE_FULL or is_disk_full(directory):
        return errno.ENOSPC
    if disk.f_flag & os.ST_RDONLY:
        return errno.EROFS
    if not os.access(directory, os.W_OK):
        return errno.EACCES
    return errno.EIO if code == sqlite3.SQLITE_IOERR else None
