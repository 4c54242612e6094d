"""One request: parse, validate, execute, and the answer as the wire has it.

On any error `data` is null. A known error brings its own message and extensions; anything else is a
defect of the engine: its traceback is logged, and the answer says what failed.
"""

from __future__ import annotations

import inspect
import re
import traceback
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from graphql import GraphQLError, execute

from layerline import log
from layerline.engine.api.query_cost import is_about_schema
from layerline.engine.api.query_document import VALIDATION_FAILED, parse_query
from layerline.engine.api.schema import served_schema
from layerline.engine.store.disk_errors import known_failure
from layerline.errors import LayerlineError, QueryError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from layerline.engine.api.session import Call
    from layerline.scrub import SecretMasks

_QUOTED = re.compile(r"'([^']*)'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back: the body, and 422 for a document that is not valid, 200 otherwise.

    `failure` is the first error as an exception, for callers inside the process. `about_schema`: it
    holds the schema and nothing else.
    """

    body: dict[str, Any]
    status: int = 200
    failure: LayerlineError | None = None
    about_schema: bool = False


async def answer(
    query: str,
    call: Call,
    *,
    variables: Mapping[str, Any] | None = None,
    operation: str | None = None,
) -> Answer:
    """Execute a query for a client and return the answer."""
    schema = call.client.schema[1] if call.client.schema else served_schema()
    document = await parse_query(query, schema)
    if document.node is None:
        return _not_executed(document.errors, document.code)
    run = partial(
        execute,
        schema,
        document.node,
        context_value=call,
        root_value=call.session.root,
        variable_values=dict(variables or {}),
        operation_name=operation,
    )
    call.session.turns.begin()
    # The schema is read without resolvers, which need the event loop.
    about_schema = is_about_schema(document.node)
    outcome = await anyio.to_thread.run_sync(run) if about_schema else run()
    result = await outcome if inspect.isawaitable(outcome) else outcome
    if result.errors and all(error.path is None for error in result.errors):
        return _not_executed(result.errors, VALIDATION_FAILED)
    if result.errors:
        masks = call.session.journal.masks
        store = call.session.settings.store
        known = [_known_failure(error, store) for error in result.errors]
        both = zip(result.errors, known, strict=True)
        errors = [_mask(_format_failure(error, cause), masks) for error, cause in both]
        failure = known[0] or LayerlineError(errors[0]["message"])
        return Answer(body={"data": None, "errors": errors}, failure=failure)
    return Answer(body={"data": result.data}, about_schema=about_schema)


def _not_executed(errors: Sequence[GraphQLError], code: str) -> Answer:
    """What is wrong with the request itself: its text, its variables or its operation."""
    return Answer(
        body={"data": None, "errors": [_format_invalid(error, code) for error in errors]},
        status=422,
        failure=QueryError(errors[0].message),
    )


def _format_invalid(error: GraphQLError, code: str) -> dict[str, Any]:
    # Names are in double quotes in the Dagger engine's messages, in single ones in graphql-core's.
    message = _QUOTED.sub(r'"\1"', error.message)
    return {**error.formatted, "message": message, "extensions": {"code": code}}


def _mask(value: Any, masks: SecretMasks) -> Any:
    """What an error says, without secrets: an argv or a message may hold one as it stands."""
    if isinstance(value, str):
        return masks.mask(value)
    if isinstance(value, dict):
        return {name: _mask(item, masks) for name, item in value.items()}
    if isinstance(value, list):
        return [_mask(item, masks) for item in value]
    return value


def _known_failure(error: GraphQLError, store: Path) -> LayerlineError | None:
    if error.original_error is None:
        return None
    where = ".".join(map(str, error.path or ()))
    return known_failure(error.original_error, f"the engine failed on {where}", store)


def _format_failure(error: GraphQLError, known: LayerlineError | None) -> dict[str, Any]:
    cause = error.original_error
    path = [str(part) for part in error.path or ()]
    if known is None and cause is not None and not isinstance(cause, GraphQLError):
        log.debug("%s", "".join(traceback.format_exception(cause)))
        where, what = ".".join(path), f"{type(cause).__name__}: {cause}"
        message = f"the engine failed on {where} ({what}); this is a defect of Layerline"
        return {"message": message, "path": path}
    message = error.message if known is None else str(known)
    formatted: dict[str, Any] = {"message": message, "path": path}
    extensions = {} if known is None else known.extensions()
    if extensions:
        formatted["extensions"] = extensions
    return formatted
