"""Documents of ops and API values: self-contained JSON, and the way back.

An op that several values share is written once. Deep chains need no deep stack.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from layerline.engine.solve.keys import (
    CLASSES,
    document_of,
    is_left_out,
    object_document,
    ops_in,
    wire_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.engine.solve.keys import Keyed


def encode(value: object) -> dict[str, Any]:
    """A self-contained document: the value, and every op that it needs, each once."""
    nodes: dict[str, Any] = {}
    pending = list(ops_in(value))
    while pending:
        op = pending.pop()
        if op.key not in nodes:
            nodes[op.key] = object_document(op, _written_fields)
            for field in _written_fields(op):
                pending.extend(ops_in(getattr(op, field.name)))
    return {"value": document_of(value, _written_fields), "ops": nodes}


def decode(document: dict[str, Any]) -> Any:
    """The value of a document that `encode` wrote."""
    return _Decoder(document["ops"]).value(document["value"])


def snapshots_in(document: Any) -> Iterator[str]:
    """The snapshots that stored trees inside a document are based on."""
    match document:
        case {"$": "Stored", "snapshots": names}:
            yield from names
        case dict():
            for item in document.values():
                yield from snapshots_in(item)
        case list():
            for item in document:
                yield from snapshots_in(item)
        case _:
            pass


def _written_fields(value: object) -> Iterator[dataclasses.Field[Any]]:
    for field in dataclasses.fields(value):  # type: ignore[arg-type]
        if field.metadata.get("written", True) and not is_left_out(value, field):
            yield field


@functools.cache
def _python_names(cls: type) -> dict[str, str]:
    return {wire_name(field): field.name for field in dataclasses.fields(cls)}


class _Decoder:
    """Builds each op once, parents first."""

    def __init__(self, nodes: dict[str, Any]) -> None:
        self.nodes = nodes
        self.built: dict[str, Keyed] = {}

    def value(self, document: Any) -> Any:
        for key in _references(document):
            self._build(key)
        return self._decode(document)

    def _build(self, key: str) -> None:
        pending = [key]
        entered: set[str] = set()
        while pending:
            top = pending[-1]
            missing = [k for k in _references(self.nodes[top]) if k not in self.built]
            if missing and top not in self.built:
                if top in entered:
                    message = f"the step {top} is made from itself"
                    raise ValueError(message)
                entered.add(top)
                pending.extend(missing)
                continue
            pending.pop()
            if top not in self.built:
                self.built[top] = self._decode(self.nodes[top])

    def _decode(self, document: Any) -> Any:
        if isinstance(document, list):
            return tuple(self._decode(item) for item in document)
        if not isinstance(document, dict):
            return document
        if "$op" in document:
            return self.built[document["$op"]]
        if "$bytes" in document:
            return base64.b64decode(document["$bytes"])
        if "$dict" in document:
            return {self._decode(k): self._decode(v) for k, v in document["$dict"]}
        cls = CLASSES[document["$"]]
        names = _python_names(cls)
        return cls(
            **{names[name]: self._decode(item) for name, item in document.items() if name != "$"}
        )


def _references(document: Any) -> Iterator[str]:
    if isinstance(document, list):
        for item in document:
            yield from _references(item)
    elif isinstance(document, dict):
        if "$op" in document:
            yield document["$op"]
        else:
            for item in document.values():
                yield from _references(item)
