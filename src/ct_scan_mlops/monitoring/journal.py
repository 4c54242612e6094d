"""The window: the last observations, in a file, which is all that there is of them.

`append` returns when the observations are durable. There is no second copy in memory, so what
/drift compares after a kill is what it compared before.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ct_scan_mlops.monitoring import journal_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ct_scan_mlops.monitoring.observations import Observation
    from ct_scan_mlops.monitoring.reference import Reference


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """What there was in the journal at one moment; `received` counts up and tells windows apart."""

    received: int
    features: NDArray[np.float64]
    embeddings: NDArray[np.float32]


@dataclass(slots=True, kw_only=True, eq=False)
class Journal:
    """An open journal. `notice` says what had to be set aside to open it."""

    connection: sqlite3.Connection
    path: Path
    reference: Reference
    capacity: int
    notice: str | None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def append(self, observations: Sequence[Observation]) -> int:
        """Keeps all or none of them, and returns how many there have been altogether."""
        rows = [_row(observation) for observation in observations]
        with self._lock, self._failures_explained():
            with self.connection as transaction:
                transaction.executemany(
                    "INSERT INTO observation (features, embedding, crc) VALUES (?, ?, ?)", rows
                )
                received = _received(transaction)
                transaction.execute(
                    "DELETE FROM observation WHERE number <= ?", (received - self.capacity,)
                )
            return received

    def received(self) -> int:
        with self._lock, self._failures_explained():
            return _received(self.connection)

    def window(self, *, embeddings: int) -> Window:
        """All features, and the embeddings of the latest observations that have one."""
        with self._lock, self._failures_explained():
            features = self.connection.execute("SELECT features FROM observation").fetchall()
            embedded = self.connection.execute(
                "SELECT embedding FROM observation WHERE embedding IS NOT NULL"
                " ORDER BY number DESC LIMIT ?",
                (embeddings,),
            ).fetchall()
            received = _received(self.connection)
        return Window(
            received=received,
            features=np.frombuffer(b"".join(row[0] for row in features), dtype="<f8").reshape(
                len(features), len(self.reference.names)
            ),
            embeddings=np.frombuffer(b"".join(row[0] for row in embedded), dtype="<f4").reshape(
                len(embedded), self.reference.embedding_width
            ),
        )

    def close(self) -> None:
        with self._lock:
            self.connection.close()

    @contextmanager
    def _failures_explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as failure:
            raise journal_file.unwritable(self.path, failure) from failure


def open_journal(directory: Path, reference: Reference, *, capacity: int) -> Journal:
    """The journal in `directory`; raises OutputUnwritable where nothing can be kept."""
    opened = journal_file.opened_in(directory, reference)
    journal = Journal(
        connection=opened.connection,
        path=opened.path,
        reference=reference,
        capacity=capacity,
        notice=opened.notice,
    )
    # Takes away what is too much since WINDOW was larger.
    journal.append([])
    return journal


def _row(observation: Observation) -> tuple[bytes, bytes | None, int]:
    features = observation.features.astype("<f8").tobytes()
    embedding = None
    if observation.embedding is not None:
        embedding = observation.embedding.astype("<f4").tobytes()
    return features, embedding, journal_file.checksum(features, embedding)


def _received(connection: sqlite3.Connection) -> int:
    (number,) = connection.execute("SELECT coalesce(max(number), 0) FROM observation").fetchone()
    return int(number)
