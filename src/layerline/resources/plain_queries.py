"""Part of every module's SDK: its queries are written as they are built.

The text of this file is appended to `dagger/client/_core.py`. There a query becomes fields of the
server's schema, then a document, then text, which takes a third of a query's time, and the schema
is fetched for that alone. A query has the names and values of the SDK's own client already.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

from graphql import DocumentNode, GraphQLError, parse


class Selected(Protocol):
    """A field as the SDK has it; `children` are by what the answer calls them."""

    name: str
    args: dict[str, Any]
    children: dict[str, "Selected"]
    inline_type: str | None


class Chain(Protocol):
    """What is used of the SDK's `Context`."""

    selections: Iterable[Selected]


def plain_requests(base: Any) -> Callable[[Chain], Awaitable[Any]]:  # noqa: ANN401
    """What takes the place of `Context.request`; `base` is gql's class of requests."""

    class PlainRequest(base):  # type: ignore[misc]
        """A request that is text; only who asks for its document gets that parsed."""

        def __init__(self, text: str) -> None:
            self.text = text
            self.variable_values = None
            self.operation_name = None
            self.extensions = None

        @property
        def document(self) -> DocumentNode:
            """The document, for an error's `debug_query`; empty where it is too deep to parse."""
            try:
                return parse(self.text)
            except (GraphQLError, RecursionError):
                return DocumentNode(definitions=())

        @property
        def payload(self) -> dict[str, Any]:
            """The body of the HTTP request."""
            return {"query": self.text}

    async def request(self: Chain) -> PlainRequest:
        return PlainRequest(query_of(self.selections))

    return request


def query_of(chain: Iterable[Selected]) -> str:
    """The query of a chain of fields, each chosen from what the one before it gives."""
    text, ends = "", ""
    for field in chain:
        text += f" {{ {_call(field)}"
        ends += " }"
        if field.inline_type is not None:
            text += f" {{ ... on {field.inline_type}"
            ends += " }"
        if field.children:
            chosen = (_aliased(alias, each) for alias, each in field.children.items())
            text += f" {{ {' '.join(chosen)} }}"
    return f"{text}{ends}".strip()


def _aliased(alias: str, field: Selected) -> str:
    return _call(field) if alias == field.name else f"{alias}: {_call(field)}"


def _call(field: Selected) -> str:
    if not field.args:
        return field.name
    return f"{field.name}({', '.join(f'{name}: {_literal(x)}' for name, x in field.args.items())})"


def _literal(value: Any) -> str:  # noqa: ANN401
    """A JSON value as GraphQL writes it; the engine takes an enum's member as a string, too."""
    if isinstance(value, Mapping):
        fields = (f"{name}: {_literal(item)}" for name, item in value.items())
        return f"{{{', '.join(fields)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    return json.dumps(value, ensure_ascii=False)
