"""What was kept is there after the next opening; whatever else stands there is set aside."""

from __future__ import annotations

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ct_scan_mlops.errors import OutputUnwritable
from ct_scan_mlops.monitoring.comparison import Rule, compare
from ct_scan_mlops.monitoring.journal import Journal, Window, open_journal
from ct_scan_mlops.monitoring.journal_file import NAME
from ct_scan_mlops.monitoring.observations import Observation
from ct_scan_mlops.monitoring.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

REFERENCE = Reference(
    names=("a", "b"),
    values=np.random.default_rng(1).normal(size=(200, 2)),
    embeddings=np.random.default_rng(2).normal(size=(200, 3)),
    identity="sha256:1",
)
OTHER = Reference(names=("a",), values=np.zeros((20, 1)), embeddings=None, identity="sha256:2")
RULE = Rule(alpha=0.01, psi_threshold=0.1, least=50)


def observations(count: int, *, seed: int = 3) -> list[Observation]:
    rows = np.random.default_rng(seed).normal(size=(count, 5))
    return [
        Observation(features=row[:2], embedding=row[2:].astype(np.float32) if n % 2 else None)
        for n, row in enumerate(rows)
    ]


def opened(directory: Path, *, capacity: int = 100) -> closing[Journal]:
    return closing(open_journal(directory, REFERENCE, capacity=capacity))


def features_of(kept: list[Observation]) -> NDArray[np.float64]:
    return np.stack([observation.features for observation in kept])


def test_what_was_kept_is_there_after_the_next_opening(tmp_path: Path) -> None:
    kept = observations(40)
    with opened(tmp_path) as journal:
        assert journal.append(kept) == 40
    with opened(tmp_path) as journal:
        window = journal.window(embeddings=1000)
        assert journal.notice is None
    assert window.received == 40
    assert np.array_equal(window.features, features_of(kept))
    assert len(window.embeddings) == 20
    assert kept[-1].embedding is not None
    assert np.array_equal(window.embeddings[0], kept[-1].embedding)


def test_only_the_latest_are_kept(tmp_path: Path) -> None:
    kept = observations(250)
    with opened(tmp_path) as journal:
        for start in range(0, 250, 25):
            journal.append(kept[start : start + 25])
        window = journal.window(embeddings=10)
    assert window.received == 250
    assert np.array_equal(window.features, features_of(kept[-100:]))
    assert len(window.embeddings) == 10


def test_the_file_does_not_grow(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        for _ in range(400):
            journal.append(observations(100))
        assert (tmp_path / NAME).stat().st_size < 200_000
        # SQLite writes back and begins anew after a thousand pages of 4 kB.
        assert (tmp_path / f"{NAME}-wal").stat().st_size < 5_000_000


def test_a_smaller_window_takes_effect_at_once(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.append(observations(100))
    with opened(tmp_path, capacity=30) as journal:
        assert len(journal.window(embeddings=0).features) == 30


def test_sixteen_writers_give_what_one_batch_gives(tmp_path: Path) -> None:
    kept = observations(320)
    with opened(tmp_path, capacity=400) as journal, ThreadPoolExecutor(16) as writers:
        list(writers.map(journal.append, [kept[start::160] for start in range(160)]))
        window = journal.window(embeddings=1000)
    batch = Window(
        received=320,
        features=features_of(kept),
        embeddings=np.stack([one.embedding for one in kept if one.embedding is not None]),
    )
    assert compare(REFERENCE, window, RULE) == compare(REFERENCE, batch, RULE)


def test_a_batch_is_never_mixed_with_another_writers(tmp_path: Path) -> None:
    batch = observations(200)
    with opened(tmp_path) as journal, ThreadPoolExecutor(16) as writers:
        received = list(writers.map(journal.append, [batch] * 48))
    assert sorted(received) == list(range(200, 9601, 200))


def test_commits_are_flushed_to_the_disk(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        pragmas = {
            name: journal.connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "locking_mode")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "locking_mode": "exclusive"}


def test_a_second_process_is_told_that_there_is_a_first(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(OutputUnwritable, match="in use by another process"):
        open_journal(tmp_path, REFERENCE, capacity=100)
    with opened(tmp_path) as journal:
        assert journal.notice is None


def test_another_references_window_is_set_aside(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.append(observations(9))
    with closing(open_journal(tmp_path, OTHER, capacity=100)) as journal:
        assert journal.notice is not None
        assert "is of another reference" in journal.notice
        assert journal.received() == 0
    aside = sqlite3.connect(tmp_path / f"{NAME}.aside-1")
    with closing(aside):
        assert aside.execute("SELECT count(*) FROM observation").fetchone() == (9,)


def keep_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def keep_fifty_bytes(path: Path) -> None:
    os.truncate(path, 50)


def write_garbage(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def make_huge(path: Path) -> None:
    os.truncate(path, 2 * 1024**3)


def log_directory(path: Path) -> None:
    path.with_name(f"{path.name}-wal").mkdir()


def statement(sql: str) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executescript(sql)

    return run


HOSTILE = {
    "half of it": keep_half,
    "fifty bytes": keep_fifty_bytes,
    "garbage": write_garbage,
    "a directory": make_directory,
    "a pipe": make_pipe,
    "a link": make_link,
    "two gigabytes": make_huge,
    "a directory as log": log_directory,
    "of an older version": statement("PRAGMA user_version=0"),
    "of another program": statement("PRAGMA application_id=0"),
    "a flipped value": statement("UPDATE observation SET crc = crc + 1 WHERE number = 3"),
    "short rows": statement("UPDATE observation SET features = x'00'"),
    "text for bytes": statement("UPDATE observation SET features = 'text'"),
    "text that is no UTF-8": statement("UPDATE about SET reference = CAST(x'ff' AS TEXT)"),
    "a number at the end": statement("UPDATE observation SET number = 1 << 62 WHERE number = 3"),
    "no reference": statement("DELETE FROM about"),
    "a trigger": statement(
        "CREATE TRIGGER t AFTER INSERT ON observation BEGIN DELETE FROM observation; END"
    ),
    "a view that never ends": statement(
        "DROP TABLE observation; CREATE VIEW observation AS WITH RECURSIVE n(number) AS"
        " (SELECT 1 UNION ALL SELECT number + 1 FROM n)"
        " SELECT number, x'00' AS features, NULL AS embedding, 0 AS crc FROM n"
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_else_stands_there_is_set_aside(tmp_path: Path, name: str) -> None:
    with opened(tmp_path) as journal:
        journal.append(observations(60))
    HOSTILE[name](tmp_path / NAME)
    with opened(tmp_path) as journal:
        assert journal.notice is not None
        assert f"It is now {NAME}.aside-1" in journal.notice
        assert journal.append(observations(2)) == 2
    assert any(path.name.startswith(f"{NAME}.aside-1") for path in tmp_path.iterdir())
    with opened(tmp_path) as journal:
        assert journal.notice is None
        assert journal.received() == 2


def test_what_was_set_aside_before_is_not_overwritten(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        (tmp_path / NAME).write_text(f"garbage {number}")
        with opened(tmp_path) as journal:
            assert journal.notice is not None
            assert f"aside-{number}" in journal.notice
        (tmp_path / NAME).unlink()
    assert (tmp_path / f"{NAME}.aside-1").read_text() == "garbage 1"


@pytest.mark.parametrize("size", range(0, 20_000, 1777))
def test_a_torn_log_never_gives_half_a_batch(tmp_path: Path, size: int) -> None:
    """The log as a kill leaves it: cut off anywhere."""
    with opened(tmp_path / "first") as journal:
        for number in range(8):
            journal.append(observations(10, seed=number))
        (tmp_path / "torn").mkdir()
        for part in (tmp_path / "first").iterdir():
            (tmp_path / "torn" / part.name).write_bytes(part.read_bytes())
    log = tmp_path / "torn" / f"{NAME}-wal"
    assert log.stat().st_size > size
    os.truncate(log, size)
    with opened(tmp_path / "torn") as journal:
        window = journal.window(embeddings=0)
    whole = features_of([one for n in range(8) for one in observations(10, seed=n)])
    assert len(window.features) % 10 == 0
    assert np.array_equal(window.features, whole[: len(window.features)])


def test_a_directory_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputUnwritable, match=r"is a file\. Name another directory"):
        open_journal(tmp_path / "file" / "state", REFERENCE, capacity=100)
