"""A row of another machine has the shape that the index is read with."""

from __future__ import annotations

import pytest

from layerline.engine.cache.rows import check_row
from layerline.engine.solve.result import Result, Text
from layerline.engine.solve.serialization import decode
from layerline.errors import ArchiveInvalid

DIGEST = "sha256:" + "0" * 64
RESULT = Result(
    layers=("a", "b"),
    mounts=((), ("c",)),
    code=255,
    stdout=Text(inline="out"),
    stderr=Text(blob=DIGEST),
    identity="0" * 64,
    written=("", "x"),
).document()
IMAGE = {"manifest": DIGEST, "media_type": "x", "layers": ["a"]}
CALL = {"value": [1], "expires": "1.5", "objects": {}, "made": ["0" * 64]}
SNAPSHOTS = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("result", RESULT),
        ("result", Result(layers=("a",)).document()),
        ("image", IMAGE),
        ("image", {"digest": DIGEST}),
        ("call", CALL),
    ],
)
def test_what_is_written_is_taken(table: str, row: dict[str, object]) -> None:
    check_row(table, row, SNAPSHOTS)


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("result", {**RESULT, "code": -1}),
        ("result", {**RESULT, "code": 256}),
        ("result", {**RESULT, "code": True}),
        ("result", {**RESULT, "code": "0"}),
        ("result", {**RESULT, "more": 1}),
        ("result", {**RESULT, "layers": "ab"}),
        ("result", {**RESULT, "layers": ["d"]}),
        ("result", {**RESULT, "mounts": [["d"]]}),
        ("result", {**RESULT, "mounts": [1]}),
        ("result", {**RESULT, "stdout": ["out"]}),
        ("result", {**RESULT, "stdout": [None, None]}),
        ("result", {**RESULT, "stderr": ["", "../../etc/passwd"]}),
        ("result", {"identity": "x"}),
        ("result", {}),
        ("image", {"manifest": DIGEST}),
        ("image", {**IMAGE, "manifest": "../x"}),
        ("call", {**CALL, "expires": "inf"}),
        ("call", {**CALL, "expires": 1.5}),
        ("call", {**CALL, "objects": {"a": 1}}),
        ("call", {**CALL, "made": ["x"]}),
        ("other", {"a": 1}),
    ],
)
def test_another_row_is_refused(table: str, row: dict[str, object]) -> None:
    with pytest.raises(ArchiveInvalid, match="row"):
        check_row(table, row, SNAPSHOTS)


@pytest.mark.parametrize("name", ["", "..", "../x", "/x", "a/b", "a\n", "x" * 300])
def test_a_name_outside_of_the_store_is_refused(name: str) -> None:
    with pytest.raises(ArchiveInvalid, match="name of a snapshot"):
        check_row("result", {"layers": [], "identity": "x"}, [name])


def test_steps_that_are_made_from_each_other_are_refused() -> None:
    ops = {
        "a": {"$": "ExecRootfs", "exec": {"$op": "b"}},
        "b": {"$": "ExecRootfs", "exec": {"$op": "a"}},
    }
    with pytest.raises(ValueError, match="made from itself"):
        decode({"value": {"$op": "a"}, "ops": ops})
