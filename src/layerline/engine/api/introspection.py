"""Answers about the schema, kept in the store: they are the same for every session, and for every
client that is served the same schema.

SDKs ask for the full schema when they connect; the store answers ten times faster than the schema.
A fixed number of answers is kept, so strange questions do not make the store grow: a new one
replaces that of another request in its slot.
"""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import graphql

from layerline.engine.store.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from layerline.engine.api.execute import Answer
    from layerline.engine.store.index import Index

_TABLE = "introspection"
_SLOTS = 64


def recall(index: Index, request: Mapping[str, Any], *, more: str = "") -> bytes | None:
    """The body that answered the same request before; `more` is the digest of further types."""
    if "__schema" not in request["query"]:
        return None
    key = _key(request, more)
    row = index.get(_TABLE, _slot(key))
    return None if row is None or row["request"] != key else str(row["body"]).encode()


def remember(
    index: Index, request: Mapping[str, Any], got: Answer, body: bytes, *, more: str = ""
) -> None:
    """Keep the body, if the request was about nothing but the schema."""
    if got.about_schema and "__schema" in request["query"]:
        key = _key(request, more)
        index.put(_TABLE, _slot(key), {"request": key, "body": body.decode()})


def _slot(key: str) -> str:
    return f"slot {int(key[-8:], 16) % _SLOTS}"


def _key(request: Mapping[str, Any], more: str) -> str:
    asked = [request["query"], request.get("operationName"), request.get("variables") or {}]
    known = [_schema_digest(), graphql.__version__, json.dumps(asked)]
    return digest_of([*known, more] if more else known)


@functools.cache
def _schema_digest() -> str:
    return digest_of(files("layerline.resources").joinpath("schema.graphql").read_text())
