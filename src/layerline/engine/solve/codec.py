"""One JSON boundary for ops and API values: canonical documents, keys, and the way back.

A frozen dataclass becomes an object with its class name under `$`; an op inside becomes a reference
to its key, so that a shared parent is written once. Fields marked `metadata=UNKEYED` take no part
in keys and are not written.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY_EPOCH = 2
UNKEYED = {"keyed": False}

C = TypeVar("C", bound=type)

_CLASSES: dict[str, type] = {}


def register(cls: C) -> C:
    """Class decorator: instances can be written and read back."""
    _CLASSES[cls.__name__] = cls
    return cls


@dataclasses.dataclass(frozen=True, kw_only=True)
class Keyed:
    """A value whose `key` is the digest of its class, its fields and its parents' keys.

    Made once.
    """

    key: str = dataclasses.field(
        init=False, repr=False, compare=False, metadata=UNKEYED, default=""
    )

    def __post_init__(self) -> None:
        """Make the key: nothing of this machine or this moment takes part."""
        object.__setattr__(self, "key", digest_of([KEY_EPOCH, self.identity()]))

    def identity(self) -> Any:
        """The JSON document that the key is the digest of.

        Ops known by their content override it.
        """
        return _shallow(self)


def digest_of(value: object) -> str:
    """The SHA-256 (hex) of a value's canonical JSON: sorted keys, no spaces, ASCII, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def identity_of(value: object) -> str:
    """The digest of any registered value; equal values, equal digests."""
    return digest_of([KEY_EPOCH, _document(value)])


def children(value: object) -> Iterator[Keyed]:
    """The ops that a value refers to directly, in the order of its fields."""
    for field in _fields(value):
        yield from _keyed_in(getattr(value, field.name))


def encode(value: object) -> dict[str, Any]:
    """A self-contained document: the value, and every op that it needs, each once."""
    nodes: dict[str, Any] = {}
    pending = list(_keyed_in(value))
    while pending:
        op = pending.pop()
        if op.key not in nodes:
            nodes[op.key] = _shallow(op)
            pending.extend(children(op))
    return {"value": _document(value), "ops": nodes}


def decode(document: dict[str, Any]) -> Any:
    """The value of a document that `encode` wrote."""
    return _Decoder(document["ops"]).value(document["value"])


def _fields(value: object) -> Iterator[dataclasses.Field[Any]]:
    for field in dataclasses.fields(value):  # type: ignore[arg-type]
        if field.metadata.get("keyed", True):
            yield field


def _keyed_in(value: object) -> Iterator[Keyed]:
    if isinstance(value, Keyed):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _keyed_in(item)
    elif dataclasses.is_dataclass(value):
        yield from children(value)


def _shallow(value: object) -> dict[str, Any]:
    body = {field.name: _document(getattr(value, field.name)) for field in _fields(value)}
    return {"$": type(value).__name__, **body}


def _document(value: object) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case bytes():
            return {"$bytes": base64.b64encode(value).decode()}
        case tuple() | list():
            return [_document(item) for item in value]
        case dict():
            return {"$dict": [[_document(k), _document(v)] for k, v in value.items()]}
        case Keyed():
            return {"$op": value.key}
        case _ if dataclasses.is_dataclass(value):
            return _shallow(value)
        case _:
            message = f"no document for a {type(value).__name__}"
            raise TypeError(message)


class _Decoder:
    """Builds each op once, parents first; deep chains need no deep stack."""

    def __init__(self, nodes: dict[str, Any]) -> None:
        self.nodes = nodes
        self.built: dict[str, Keyed] = {}

    def value(self, document: Any) -> Any:
        for key in _references(document):
            self._build(key)
        return self._decode(document)

    def _build(self, key: str) -> None:
        pending = [key]
        while pending:
            top = pending[-1]
            missing = [k for k in _references(self.nodes[top]) if k not in self.built]
            if missing and top not in self.built:
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
        cls = _CLASSES[document["$"]]
        return cls(**{name: self._decode(item) for name, item in document.items() if name != "$"})


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
