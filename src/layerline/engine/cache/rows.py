"""Rows in records: what one has to look like before it gets into the index.

The index is read without checks, so a row of a wrong shape would fail the step that meets it. What
a row has that is not known here means something to its writer, so it is not taken either.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from layerline.errors import ArchiveInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from layerline.engine.store.index import Document

_SNAPSHOT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_STEP = re.compile(r"[0-9a-f]{64}")
_LARGEST_CODE = 255


def check_row(table: str, row: Document, snapshots: Collection[str]) -> None:
    """Raise ArchiveInvalid for a row of a table that this version cannot use.

    `snapshots` are those that the record has a layer or a need for.
    """
    members = _TABLES.get(table, {})
    for name, value in row.items():
        if name not in members:
            message = f"its row has the unknown member {name!r}: another version wrote it"
            raise ArchiveInvalid(message)
        if not members[name](value):
            message = f"its row has an invalid {name!r}"
            raise ArchiveInvalid(message)
    required = _REQUIRED.get(table, ())
    if not any(row.keys() >= each for each in required):
        message = "its row is incomplete"
        raise ArchiveInvalid(message)
    for name in (*snapshots, *_named(row)):
        if not _SNAPSHOT.fullmatch(name):
            message = f"invalid name of a snapshot: {name!r}"
            raise ArchiveInvalid(message)
    strange = sorted(set(_named(row)) - set(snapshots))
    if strange:
        message = f"its row needs {strange[0]!r}, which the record does not have"
        raise ArchiveInvalid(message)


def _named(row: Document) -> list[str]:
    """The snapshots of a row that was checked; objects in it are checked when they are read."""
    layers, mounts = row.get("layers", []), row.get("mounts", [])
    lists = [layers, *(mounts if isinstance(mounts, list) else [])]
    return [name for each in lists if isinstance(each, list) for name in each]


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _lists(value: object) -> bool:
    return isinstance(value, list) and all(map(_texts, value))


def _text(value: object) -> bool:
    return isinstance(value, str)


def _output(value: object) -> bool:
    """A text, or the digest of one; see `Result`."""
    match value:
        case [str(), None]:
            return True
        case [str(), str() as blob]:
            return _digest(blob)
        case _:
            return False


def _code(value: object) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST_CODE


def _digest(value: object) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _steps(value: object) -> bool:
    return _texts(value) and isinstance(value, list) and all(map(_STEP.fullmatch, value))


def _time(value: object) -> bool:
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False


def _objects(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(each, dict) for each in value.values())


def _anything(_value: object) -> bool:
    return True


_TABLES: Mapping[str, Mapping[str, Callable[[object], bool]]] = {
    "result": {
        "layers": _texts,
        "identity": _text,
        "mounts": _lists,
        "code": _code,
        "stdout": _output,
        "stderr": _output,
        "combined": _output,
        "written": _texts,
    },
    "image": {"manifest": _digest, "media_type": _text, "layers": _texts, "digest": _digest},
    "call": {"value": _anything, "expires": _time, "objects": _objects, "made": _steps},
}
_REQUIRED: Mapping[str, tuple[frozenset[str], ...]] = {
    "result": (frozenset({"layers", "identity"}),),
    "image": (frozenset({"manifest", "media_type", "layers"}), frozenset({"digest"})),
    "call": (frozenset({"value", "expires", "objects", "made"}),),
}
