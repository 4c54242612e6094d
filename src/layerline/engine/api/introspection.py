"""Answers about the schema, kept in the store: they are the same for every client and session.

SDKs ask for the full schema when they connect; the store answers ten times faster than the schema.
"""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import graphql

from layerline.engine.api.execute import asks_for_schema
from layerline.engine.store.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from layerline.engine.api.execute import Answer
    from layerline.engine.store.index import Index

_TABLE = "introspection"


def recall(index: Index, request: Mapping[str, Any]) -> bytes | None:
    """The body that answered the same request before."""
    if "__schema" not in request["query"]:
        return None
    row = index.get(_TABLE, _key(request))
    return None if row is None else str(row["body"]).encode()


def remember(index: Index, request: Mapping[str, Any], got: Answer, body: bytes) -> None:
    """Keep the body, if the request was about nothing but the schema."""
    if got.failure is None and asks_for_schema(request["query"]):
        index.put(_TABLE, _key(request), {"body": body.decode()})


def _key(request: Mapping[str, Any]) -> str:
    asked = [request["query"], request.get("operationName"), request.get("variables") or {}]
    return digest_of([_schema_digest(), graphql.__version__, json.dumps(asked)])


@functools.cache
def _schema_digest() -> str:
    return digest_of(files("layerline.resources").joinpath("schema.graphql").read_text())
