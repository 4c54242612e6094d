"""The text of a query, parsed and found valid, before anything of it is executed."""

from __future__ import annotations

import contextlib
import functools
import gc
import re
import sys
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar
from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSyntaxError,
    Lexer,
    OperationDefinitionNode,
    OperationType,
    Source,
    TokenKind,
)
from graphql.language.parser import Parser

from layerline.engine.api import request_limits as limits
from layerline.engine.api.query_cost import check_cost
from layerline.engine.api.query_validation import find_errors, is_known, remember, shape_of
from layerline.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graphql import GraphQLSchema, SelectionSetNode, StringValueNode, Token

VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
_PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
# Parsed documents are some hundred times larger than their text.
_REMEMBERED_DOCUMENTS = 64
_LARGEST_REMEMBERED = 4096
# Less is parsed faster than a thread can take it over.
_LARGEST_INLINE = 4096
_PARALLEL = 1
# The parser needs 6 frames for a level of a query, the executor 5. C code is not in danger: 60,000
# levels of JSON fit on a thread's stack of 8 MiB, and that of a request is refused if it is deep.
_FRAMES = 7 * limits.DEEPEST_QUERY
# https://spec.graphql.org/draft/#StringValue, without escapes of code points.
_STRING = re.compile(r'"([^"\\\r\n\ud800-\udfff]*+(?:\\["\\/bfnrt][^"\\\r\n\ud800-\udfff]*+)*+)"')
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = MappingProxyType(
    {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
)
_limiter: RunVar[anyio.CapacityLimiter] = RunVar("query documents")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryDocument:
    """A parsed text, or why it is not valid and which code says so."""

    node: DocumentNode | None
    errors: tuple[GraphQLError, ...] = ()
    code: str = ""


async def parse_query(query: str, schema: GraphQLSchema) -> QueryDocument:
    """Parse and validate; a long text in a thread, where other clients do not wait for it.

    One long text at a time: the memory of a parsed document is many times that of its text.
    """
    if len(query) <= _LARGEST_INLINE:
        return parse_text(query, schema)
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(_PARALLEL)
        _limiter.set(limiter)
    return await anyio.to_thread.run_sync(parse_text, query, schema, limiter=limiter)


def parse_text(query: str, schema: GraphQLSchema) -> QueryDocument:
    """Parse and validate; short texts are remembered."""
    return (_parse_short if len(query) <= _LARGEST_REMEMBERED else _parse)(query, schema)


def _parse(query: str, schema: GraphQLSchema) -> QueryDocument:
    if not query.strip():
        error = GraphQLError("no operation provided")
        return QueryDocument(node=None, errors=(error,), code=VALIDATION_FAILED)
    sys.setrecursionlimit(max(sys.getrecursionlimit(), _FRAMES))
    try:
        with _collection_paused():
            parser = _DeepParser(query, max_tokens=limits.MOST_TOKENS)
            node = parser.parse_document()
    except GraphQLSyntaxError as exc:
        return QueryDocument(node=None, errors=(exc,), code=_PARSE_FAILED)
    except RecursionError:
        deep = GraphQLError("the query is nested too deeply")
        return QueryDocument(node=None, errors=(deep,), code=_PARSE_FAILED)
    shape = shape_of(query, parser.literals)
    if is_known(shape, schema):
        return QueryDocument(node=node)
    try:
        check_cost(node, schema)
    except QueryError as exc:
        expensive = GraphQLError(str(exc))
        return QueryDocument(node=None, errors=(expensive,), code=VALIDATION_FAILED)
    errors = [*_not_queries(node), *find_errors(node, shape, schema)]
    if errors:
        return QueryDocument(node=None, errors=tuple(errors), code=VALIDATION_FAILED)
    remember(shape, schema)
    return QueryDocument(node=node)


_parse_short = functools.lru_cache(maxsize=_REMEMBERED_DOCUMENTS)(_parse)


@contextlib.contextmanager
def _collection_paused() -> Iterator[None]:
    """Let no garbage collection run meanwhile, unless another thread starts one.

    The parser makes objects that all live on. Collections among them walk whatever else lives in
    the process, which takes longer than the parsing. Where two threads parse, the first that ends
    starts collecting again.
    """
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


class _StringLexer(Lexer):
    """graphql-core's lexer, which reads a string character by character: those of SDKs hold files.

    What it would refuse, or a character by its number, is left to it.
    """

    def read_string(self, start: int) -> Token:
        found = _STRING.match(self.source.body, start)
        if found is None:
            return super().read_string(start)
        value = _ESCAPE.sub(lambda escape: _ESCAPED[escape[1]], found[1])
        return self.create_token(TokenKind.STRING, start, found.end(), value)


class _DeepParser(Parser):
    """graphql-core's parser, which since 3.3 refuses more than 200 levels of any kind.

    SDKs nest one level for each call of a chain, and the Dagger engine takes thousands. Values and
    types keep the library's limit. `literals` are the strings that it has read.
    """

    _nesting_depth = 0
    _selection_sets = 0

    def __init__(self, text: str, *, max_tokens: int) -> None:
        super().__init__(text, max_tokens=max_tokens, lexer=_StringLexer(Source(text)))
        self.literals: list[Token] = []

    def parse_string_literal(self, _is_const: bool = False) -> StringValueNode:  # noqa: FBT001, FBT002 - the library's
        self.literals.append(self._lexer.token)
        return super().parse_string_literal(_is_const)

    def parse_selection_set(self) -> SelectionSetNode:
        self._selection_sets += 1
        if self._selection_sets > limits.DEEPEST_QUERY:
            raise RecursionError
        outer, self._nesting_depth = self._nesting_depth, 0
        node = super().parse_selection_set()
        self._nesting_depth = outer
        self._selection_sets -= 1
        return node


def _not_queries(document: DocumentNode) -> list[GraphQLError]:
    return [
        GraphQLError(f"{definition.operation.value}s are not supported: every operation is a query")
        for definition in document.definitions
        if isinstance(definition, OperationDefinitionNode)
        and definition.operation is not OperationType.QUERY
    ]
