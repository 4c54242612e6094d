"""Keys: what makes two ops, or two values of the API, the same.

A key is the SHA-256 of a canonical JSON document: an object with the class's wire name under `$`
and a member for each field. An op inside is a reference to its key, so a shared parent is written
once. Wire names are explicit: classes and fields can be renamed without changing a key, and
`tests/unit/solve/test_keys.py` pins them.
"""

from __future__ import annotations

import base64
import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar

from layerline.engine.store.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Part of every key. Raise it when the same arguments of every kind no longer mean the same result;
# for one kind, give `register` an epoch.
KEY_EPOCH = 3
UNKEYED = {"keyed": False, "written": False}
WRITTEN = {"keyed": False}
"""Metadata of a field that takes no part in keys but is kept in documents."""
SPARSE = {"sparse": True}
"""Metadata of a field that is in keys and documents only where it is not its default."""

C = TypeVar("C", bound=type)

CLASSES: dict[str, type] = {}
_NAMES: dict[type, str] = {}
_EPOCHS: dict[type, int] = {}


def register(name: str, *, epoch: int = 0) -> Callable[[C], C]:
    """Class decorator: instances can be keyed, written and read back under this wire name.

    Raise the `epoch` when the same arguments of this kind no longer mean the same result: its keys
    and those of all steps above change, others do not. 0 is not in keys.
    """

    def add(cls: C) -> C:
        if CLASSES.setdefault(name, cls) is not cls:
            message = f"the wire name {name!r} is taken by {CLASSES[name].__qualname__}"
            raise TypeError(message)
        _NAMES[cls] = name
        if epoch:
            _EPOCHS[cls] = epoch
        return cls

    return add


def wire(name: str) -> dict[str, str]:
    """Metadata of a field whose wire name is not its name in Python."""
    return {"wire": name}


def wire_name(field: dataclasses.Field[Any]) -> str:
    """The name of a field in documents."""
    return str(field.metadata.get("wire", field.name))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Keyed:
    """A value whose `key` is the digest of its class, its fields and its parents' keys."""

    key: str = dataclasses.field(
        init=False, repr=False, compare=False, metadata=UNKEYED, default=""
    )

    def __post_init__(self) -> None:
        """Compute the key from the arguments alone, never from the machine or the time."""
        object.__setattr__(self, "key", digest_of([KEY_EPOCH, self.identity()]))

    def identity(self) -> Any:
        """The JSON document that the key is the digest of.

        Ops known by their content override it.
        """
        return keyed_document(self)


def identity_of(value: object) -> str:
    """The digest of any registered value; equal values have equal digests."""
    return digest_of([KEY_EPOCH, document_of(value, keyed_fields)])


def children(value: object) -> Iterator[Keyed]:
    """The ops that a value refers to directly, in the order of its fields."""
    for field in keyed_fields(value):
        yield from ops_in(getattr(value, field.name))


def ops_in(value: object) -> Iterator[Keyed]:
    """The ops in a field's value, without their own parents."""
    if isinstance(value, Keyed):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from ops_in(item)
    elif dataclasses.is_dataclass(value):
        yield from children(value)


def keyed_fields(value: object) -> Iterator[dataclasses.Field[Any]]:
    """The fields that take part in keys."""
    for field in dataclasses.fields(value):  # type: ignore[arg-type]
        if field.metadata.get("keyed", True) and not is_left_out(value, field):
            yield field


def is_left_out(value: object, field: dataclasses.Field[Any]) -> bool:
    """Whether a field was added later and says nothing."""
    return bool(field.metadata.get("sparse")) and getattr(value, field.name) == field.default


def keyed_document(value: object) -> dict[str, Any]:
    """A registered dataclass as the document that its key is made from."""
    return object_document(value, keyed_fields)


def object_document(
    value: object, fields: Callable[[object], Iterator[dataclasses.Field[Any]]]
) -> dict[str, Any]:
    """A registered dataclass with some of its fields; ops inside are references."""
    body = {
        wire_name(field): document_of(getattr(value, field.name), fields) for field in fields(value)
    }
    if fields is keyed_fields and (epoch := _EPOCHS.get(type(value))) is not None:
        body["$epoch"] = epoch
    return {"$": _NAMES[type(value)], **body}


def document_of(value: object, fields: Callable[[object], Iterator[dataclasses.Field[Any]]]) -> Any:
    """Any value as JSON; ops become references to their keys."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case bytes():
            return {"$bytes": base64.b64encode(value).decode()}
        case tuple() | list():
            return [document_of(item, fields) for item in value]
        case dict():
            pairs = [[document_of(k, fields), document_of(v, fields)] for k, v in value.items()]
            return {"$dict": pairs}
        case Keyed():
            return {"$op": value.key}
        case _ if type(value) in _NAMES:
            return object_document(value, fields)
        case _:
            message = f"{type(value).__name__} is not registered: it has no wire name"
            raise TypeError(message)
