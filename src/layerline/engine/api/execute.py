"""One request: parse, validate, execute, and the answer as the wire has it.

On any error `data` is null. A known error brings its own message and extensions; anything else is a
defect of the engine: its traceback is logged, and the answer says what failed.
"""

from __future__ import annotations

import functools
import inspect
import re
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    OperationType,
    execute,
    parse,
    specified_rules,
    validate,
)
from graphql.validation import ValuesOfCorrectTypeRule

from layerline import log
from layerline.engine.api.schema import served_schema
from layerline.errors import LayerlineError, QueryError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from layerline.engine.api.session import Call

_RULES = tuple(rule for rule in specified_rules if rule is not ValuesOfCorrectTypeRule)
_MAX_TOKENS = 200_000
_QUOTED = re.compile(r"'([^']*)'")
_VALIDATION = "GRAPHQL_VALIDATION_FAILED"
_REMEMBERED_DOCUMENTS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back: the body, and 422 for a document that is not valid, 200 otherwise.

    `failure` is the first error as an exception, for callers inside the process.
    """

    body: dict[str, Any]
    status: int = 200
    failure: LayerlineError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    """A parsed text, or why it is not valid and which code says so."""

    node: DocumentNode | None
    errors: tuple[GraphQLError, ...] = ()
    code: str = ""


async def answer(
    query: str,
    call: Call,
    *,
    variables: Mapping[str, Any] | None = None,
    operation: str | None = None,
) -> Answer:
    """Execute a query for a client and return the answer."""
    document = _document(query)
    if document.node is None:
        return _not_executed(document.errors, document.code)
    outcome = execute(
        served_schema(),
        document.node,
        context_value=call,
        root_value=call.session.root,
        variable_values=dict(variables or {}),
        operation_name=operation,
    )
    result = await outcome if inspect.isawaitable(outcome) else outcome
    if result.errors and all(error.path is None for error in result.errors):
        return _not_executed(result.errors, _VALIDATION)
    if result.errors:
        errors = [_format_failure(error) for error in result.errors]
        first = result.errors[0].original_error
        known = first if isinstance(first, LayerlineError) else None
        failure = known or LayerlineError(errors[0]["message"])
        return Answer(body={"data": None, "errors": errors}, failure=failure)
    return Answer(body={"data": result.data})


def asks_for_schema(query: str) -> bool:
    """Whether a query is about the schema and nothing else."""
    node = _document(query).node
    chosen = [
        selection
        for definition in (node.definitions if node else ())
        if isinstance(definition, OperationDefinitionNode)
        for selection in definition.selection_set.selections
    ]
    return bool(chosen) and all(
        isinstance(selection, FieldNode) and selection.name.value == "__schema"
        for selection in chosen
    )


def _not_executed(errors: Sequence[GraphQLError], code: str) -> Answer:
    """What is wrong with the request itself: its text, its variables or its operation."""
    return Answer(
        body={"data": None, "errors": [_format_invalid(error, code) for error in errors]},
        status=422,
        failure=QueryError(errors[0].message),
    )


@functools.lru_cache(maxsize=_REMEMBERED_DOCUMENTS)
def _document(query: str) -> _Document:
    if not query.strip():
        error = GraphQLError("no operation provided")
        return _Document(node=None, errors=(error,), code=_VALIDATION)
    try:
        node = parse(query, max_tokens=_MAX_TOKENS)
    except GraphQLSyntaxError as exc:
        return _Document(node=None, errors=(exc,), code="GRAPHQL_PARSE_FAILED")
    except RecursionError:
        return _Document(
            node=None,
            errors=(GraphQLError("the query is nested too deeply"),),
            code="GRAPHQL_PARSE_FAILED",
        )
    errors = [*_not_queries(node), *validate(served_schema(), node, _RULES)]
    if errors:
        return _Document(node=None, errors=tuple(errors), code=_VALIDATION)
    return _Document(node=node)


def _not_queries(document: DocumentNode) -> list[GraphQLError]:
    return [
        GraphQLError(f"{definition.operation.value}s are not supported: every operation is a query")
        for definition in document.definitions
        if isinstance(definition, OperationDefinitionNode)
        and definition.operation is not OperationType.QUERY
    ]


def _format_invalid(error: GraphQLError, code: str) -> dict[str, Any]:
    # Names are in double quotes in the Dagger engine's messages, in single ones in graphql-core's.
    message = _QUOTED.sub(r'"\1"', error.message)
    return {**error.formatted, "message": message, "extensions": {"code": code}}


def _format_failure(error: GraphQLError) -> dict[str, Any]:
    cause = error.original_error
    path = [str(part) for part in error.path or ()]
    if cause is not None and not isinstance(cause, LayerlineError | GraphQLError):
        log.debug("%s", "".join(traceback.format_exception(cause)))
        where, what = ".".join(path), f"{type(cause).__name__}: {cause}"
        message = f"the engine failed on {where} ({what}); this is a defect of Layerline"
        return {"message": message, "path": path}
    formatted: dict[str, Any] = {
        "message": str(cause) if isinstance(cause, LayerlineError) else error.message,
        "path": path,
    }
    extensions = cause.extensions() if isinstance(cause, LayerlineError) else {}
    if extensions:
        formatted["extensions"] = extensions
    return formatted
