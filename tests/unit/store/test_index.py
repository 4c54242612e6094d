"""Rows are kept, and damage of any kind is a miss and never a wrong hit."""

from __future__ import annotations

import random
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.engine.store.index import Index
from layerline.engine.store.locks import Locks
from layerline.settings import python

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = {f"key-{number}": {"number": number, "text": "x" * 50} for number in range(60)}
SOURCE = Path(__file__).parents[3] / "src"
OTHER_PROCESS = """
import sys
from pathlib import Path
from layerline.engine.store.index import Index
from layerline.engine.store.locks import Locks
root = Path(sys.argv[1])
index = Index(root / "index.db", Locks(root), lambda name: True)
for number in range(50):
    index.put("process", f"{sys.argv[2]}-{number}", {"number": number})
index.close()
"""


class Place:
    """Opens an index in a directory, as processes do one after another."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.intact = {"one"}

    def open(self) -> Index:
        """A new connection."""
        return Index(self.root / "index.db", Locks(self.root), self.intact.__contains__)

    def fill(self) -> bytes:
        """The bytes of an index file with ROWS."""
        index = self.open()
        for key, document in ROWS.items():
            index.put("result", key, document, snapshots=["one"])
        index.close()
        return (self.root / "index.db").read_bytes()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty directory."""
    return Place(tmp_path)


@pytest.fixture
def index(place: Place) -> Iterator[Index]:
    """An empty index."""
    index = place.open()
    yield index
    index.close()


def test_what_was_put_is_there_for_the_next_process(place: Place) -> None:
    place.fill()
    again = place.open()
    assert dict(again.scan("result")) == ROWS
    assert again.get("result", "key-7") == ROWS["key-7"]
    assert again.get("layer", "key-7") is None
    again.close()


def test_a_document_is_replaced(index: Index) -> None:
    index.put("value", "k", {"a": 1})
    index.put("value", "k", {"a": 2})
    assert index.get("value", "k") == {"a": 2}


def test_keys_may_hold_any_text(index: Index) -> None:
    for key in ("", "a\0b", "ü", "'; DROP TABLE rows"):
        index.put("value", key, {"key": key})
        assert index.get("value", key) == {"key": key}


def test_a_row_counts_only_while_its_snapshots_are_intact(place: Place, index: Index) -> None:
    index.put("result", "k", {"a": 1}, snapshots=["one", "other"])
    assert index.get("result", "k") is None
    assert list(index.scan("result")) == []
    place.intact.add("other")
    assert index.get("result", "k") == {"a": 1}


def test_every_commit_is_synced(index: Index) -> None:
    assert index._database.execute("PRAGMA synchronous").fetchone() == (2,)
    assert index._database.execute("PRAGMA journal_mode").fetchone() == (b"wal",)


def test_a_changed_row_is_a_miss(place: Place) -> None:
    place.fill()
    database = sqlite3.connect(place.root / "index.db")
    database.execute("UPDATE rows SET document = ? WHERE key = ?", (b'{"number":8}', b"key-7"))
    database.execute("UPDATE rows SET key = ? WHERE key = ?", (b"key-100", b"key-8"))
    database.execute("UPDATE rows SET document = 7 WHERE key = ?", (b"key-9",))
    database.commit()
    database.close()
    index = place.open()
    assert index.get("result", "key-7") is None
    assert index.get("result", "key-100") is None
    assert index.get("result", "key-9") is None
    assert len(dict(index.scan("result"))) == len(ROWS) - 3
    index.close()


def wrong(index: Index) -> list[str]:
    """The keys whose document is wrong; a miss is fine."""
    answers = {key: index.get("result", key) for key in ROWS} | dict(index.scan("result"))
    return [key for key, found in answers.items() if found not in (None, ROWS.get(key))]


@pytest.mark.parametrize("kind", ["flip", "zero", "truncate", "garbage"])
def test_a_damaged_file_never_answers_wrongly_and_works_again(place: Place, kind: str) -> None:
    good = place.fill()
    chance = random.Random(7)
    lost = 0
    for _ in range({"flip": 60, "zero": 20, "truncate": 20, "garbage": 1}[kind]):
        (place.root / "index.db").write_bytes(inject_fault(good, kind, chance))
        index = place.open()
        assert wrong(index) == []
        lost += len(ROWS) - len(dict(index.scan("result")))
        index.put("result", "new", {"a": 1})
        assert index.get("result", "new") == {"a": 1}
        index.close()
        for part in place.root.glob("index.db-*"):
            part.unlink()
    assert lost > 0, "the damage did not reach any row: the test is blind"


def inject_fault(good: bytes, kind: str, chance: random.Random) -> bytes:
    """The bytes with one fault."""
    broken = bytearray(good)
    at = chance.randrange(len(good))
    match kind:
        case "flip":
            broken[at] ^= 1 << chance.randrange(8)
        case "zero":
            page = at // 4096 * 4096
            broken[page : page + 4096] = bytes(4096)
        case "truncate":
            del broken[at:]
        case _:
            broken = bytearray(b"not a database at all" * 1000)
    return bytes(broken)


def test_the_damaged_file_is_kept_under_another_name(place: Place) -> None:
    place.fill()
    (place.root / "index.db").write_bytes(b"rotten" * 1000)
    place.open().close()
    assert (place.root / "damaged-index.db").read_bytes() == b"rotten" * 1000


def test_damage_under_an_open_connection_ends_in_a_miss(place: Place) -> None:
    place.fill()
    index = place.open()
    (place.root / "index.db").write_bytes(b"\xff" * 8192)
    assert index.get("result", "key-1") in (None, ROWS["key-1"])
    index.put("result", "new", {"a": 1})
    assert index.get("result", "new") == {"a": 1}
    index.close()


def test_threads_and_processes_write_at_once(place: Place, index: Index) -> None:
    env = {"PYTHONPATH": str(SOURCE)}
    others = [
        command.start([python(), "-c", OTHER_PROCESS, place.root, name], env=env)
        for name in ("a", "b")
    ]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: index.put("thread", str(number), {"n": number}), range(50)))
    assert [other.wait() for other in others] == [0, 0]
    assert len(list(index.scan("thread"))) == 50
    assert len(list(index.scan("process"))) == 100
