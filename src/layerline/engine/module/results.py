"""The remembered results of function calls: when one may be used again, and for how long.

Invariant: a result is remembered with everything that the ids in it name, so a later session can
read them; what a later session cannot have (a secret's plaintext) is not remembered. Steps that
were made with a secret are remembered, and hold while their results are kept. A failed call is not
remembered.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerline import log
from layerline.engine.api.durations import nanoseconds
from layerline.engine.module.objects import ModuleObject
from layerline.engine.solve.keys import identity_of
from layerline.engine.solve.serialization import decode, encode, snapshots_in
from layerline.engine.store.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from layerline.engine.module.definitions import Function, Json
    from layerline.engine.store.index import Index

TABLE = "call"
_EPOCH = 2
_LONGEST_SECONDS = 7 * 24 * 3600.0
_STEP = re.compile(r'"\$op":"([0-9a-f]{64})"')
_ID = re.compile(r"[A-Z]\w*:[0-9a-f]{64}")
_SECRET = '"$":"SecretRef"'
_OF_ONE_SESSION = ('"$":"Secret"', '"$":"Service"')


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedResult:
    """A result: the value that the function returned, and the objects that the ids in it name."""

    value: Json
    objects: dict[str, Any]


def key_of(module: str, owner: str, function: str, parent: Json, arguments: dict[str, Any]) -> str:
    """Same code, object, function and arguments: same key. Objects count by their ids."""
    return digest_of([_EPOCH, module, owner, function, parent, arguments])


def lifetime(function: Function, *, caching: bool) -> float | None:
    """For how many seconds a result holds; 0 is in this session only, None not at all."""
    if function.cache_policy == "Never":
        return None
    if function.cache_policy == "PerSession" or (not caching and function.time_to_live is None):
        return 0.0
    if function.time_to_live is None:
        return _LONGEST_SECONDS
    seconds = nanoseconds(function.time_to_live) / 1e9
    return min(seconds, _LONGEST_SECONDS) if seconds > 0 else None


def recall(index: Index, key: str) -> CachedResult | None:
    """The remembered result of a call, if it has not expired and its objects can still be read."""
    row = index.get(TABLE, key)
    if row is None or float(str(row["expires"])) <= time.time():
        return None
    documents, made = row["objects"], row["made"]
    assert isinstance(documents, dict)
    assert isinstance(made, list)
    if any(index.get("result", step) is None for step in made):
        return None
    if documents:
        # A result without objects needs no schema, whose library takes long to import.
        from layerline.engine.api.schema import load_resolvers

        load_resolvers()  # their modules register the classes that documents may name
    try:
        objects = {name: decode(document) for name, document in documents.items()}
        ids = [f"{value.typename}:{identity_of(value)}" for value in objects.values()]
    except (KeyError, TypeError, ValueError, AttributeError) as exc:  # of another machine
        log.debug("a result in another form is not used: %r", exc)
        return None
    if ids != list(objects):
        return None
    return CachedResult(value=row["value"], objects=objects)


def remember(
    index: Index, key: str, value: Json, *, seconds: float, load: Callable[[str], Any]
) -> None:
    """Keep a result for `seconds`; `load` gives the object of an id."""
    documents = {name: encode(known) for name, known in _objects_in(value, load).items()}
    values = _text([document["value"] for document in documents.values()])
    steps = _text([document["ops"] for document in documents.values()])
    if _SECRET in values or any(mark in values + steps for mark in _OF_ONE_SESSION):
        return
    # A step that lacks its secret cannot be made again, so what is based on it has to exist.
    made = sorted(set(_STEP.findall(values))) if _SECRET in steps else []
    row = {
        "value": value,
        "expires": str(time.time() + seconds),
        "objects": documents,
        "made": made,
    }
    index.put(TABLE, key, row, snapshots=sorted(set(snapshots_in(documents))))


def remember_also(index: Index, key: str, other: str) -> None:
    """Keep the result of a key, if it is remembered, under another key until the same time."""
    row = index.get(TABLE, key)
    if row is not None:
        index.put(TABLE, other, row, snapshots=sorted(set(snapshots_in(row["objects"]))))


def _objects_in(value: Json, load: Callable[[str], Any]) -> dict[str, Any]:
    """The objects that ids name, in a value and in the states of other modules' objects."""
    found: dict[str, Any] = {}
    pending = list(ids_in(value))
    while pending:
        name = pending.pop()
        if name not in found:
            found[name] = load(name)
            if isinstance(found[name], ModuleObject):
                pending.extend(ids_in(found[name].fields))
    return found


def _text(documents: list[Json]) -> str:
    return json.dumps(documents, separators=(",", ":"))


def ids_in(value: Json) -> Iterator[str]:
    """The ids of objects inside a JSON value."""
    match value:
        case str():
            if _ID.fullmatch(value):
                yield value
        case list():
            for item in value:
                yield from ids_in(item)
        case dict():
            for item in value.values():
                yield from ids_in(item)
        case _:
            pass
