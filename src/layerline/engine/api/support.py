"""Which fields of the API are supported, which differ, and which are refused.

The text of `docs/engine.md`.

    python -m layerline.engine.api.support > docs/engine.md

Made from the resolvers, and compared with the file by a test, so that the document cannot lie.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from graphql import GraphQLObjectType

from layerline.engine.api.registry import FIELDS
from layerline.engine.api.schema import answered_by, served_schema
from layerline.engine.api.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

_INTRODUCTION = """\
# The embedded engine's API

Layerline's embedded engine serves the whole session schema of Dagger v0.21. A field that it does
not implement is refused by name (`Container.x is not supported by the embedded engine`), never
ignored. This table is generated from the resolvers by `python -m layerline.engine.api.support`
and checked by a test.

`id` and `load…FromID` work for every type. What is true of the engine as a whole:

- **Function results and steps** are remembered in the store, across sessions, and survive
  `kill -9` and a power cut.
- **Platforms**: programs of other processors run only where the kernel knows how (binfmt);
  otherwise the exec fails.
- **Base images** that no registry gives are bootstrapped from the distribution's packages
  (`debian:*`, `ubuntu:*`).
- **Files that the engine makes** have the time 1980-01-01, so that equal steps give equal layers.
"""


def document() -> str:
    """The text of docs/engine.md."""
    return "\n".join([_INTRODUCTION, *_summary(), *_tables()]) + "\n"


def _types() -> list[GraphQLObjectType]:
    found = served_schema().type_map.values()
    return sorted(
        (t for t in found if isinstance(t, GraphQLObjectType) and not t.name.startswith("__")),
        key=lambda t: t.name,
    )


def _rows(graphql_type: GraphQLObjectType) -> Iterator[tuple[str, str]]:
    value_class = _value_classes().get(graphql_type.name)
    for name in sorted(graphql_type.fields):
        how = answered_by(graphql_type.name, name, value_class)
        if how in ("id", "loader"):
            continue
        registered = FIELDS.get((graphql_type.name, name))
        if how == "refused" or (how == "attribute" and value_class is None):
            yield name, "refused"
        elif registered is not None and registered.differs:
            yield name, f"differs: {registered.differs}"
        else:
            yield name, "supported"


def _summary() -> Iterator[str]:
    rows = [status for t in _types() for _, status in _rows(t)]
    supported = sum(status != "refused" for status in rows)
    yield f"{supported} of {len(rows)} fields are supported.\n"


def _tables() -> Iterator[str]:
    refused = []
    for graphql_type in _types():
        rows = list(_rows(graphql_type))
        if all(status == "refused" for _, status in rows):
            refused.append(graphql_type.name)
            continue
        yield f"## {graphql_type.name}\n"
        yield "| field | status |\n| --- | --- |"
        for name, status in rows:
            yield f"| `{name}` | {status} |"
        yield ""
    yield "## Types that are refused as a whole\n"
    yield ", ".join(f"`{name}`" for name in refused)


def _value_classes() -> dict[str, type]:
    found: dict[str, type] = {}
    pending = [Value]
    while pending:
        cls = pending.pop()
        pending.extend(cls.__subclasses__())
        if "typename" in cls.__dict__:
            found[cls.typename] = cls
    return found


if __name__ == "__main__":
    sys.stdout.write(document())
