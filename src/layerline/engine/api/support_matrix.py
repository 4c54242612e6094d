"""Which fields of the API are supported, which differ, and which are refused.

The text of `docs/engine.md`.

    python -m layerline.engine.api.support_matrix > docs/engine.md

Made from the resolvers, and compared with the file by a test, so that the document cannot lie.
"""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

from graphql import GraphQLObjectType

from layerline.engine.api.fields import FIELDS
from layerline.engine.api.objects import Value
from layerline.engine.api.schema import answered_by, served_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

_WIDTH = 100
_INTRODUCTION = """\
# The embedded engine's API

Layerline's embedded engine serves the whole session schema of Dagger v0.21. A field that it does
not implement is refused by name (`Container.x is not supported by the embedded engine`), never
ignored. This file is made by `python -m layerline.engine.api.support_matrix` from the functions
that answer the fields, and a test compares the two.

A field is *supported* when what it does was compared with the Dagger engine's recorded answers or
with its documentation; *differs* says how; *refused* fields fail. `id` and `load…FromID` work for
every type that has a supported field, and are not listed.

What differs everywhere, on purpose:

- **Cache**: function results and steps are remembered in a store on this machine, across sessions;
  they survive `kill -9` and a power cut. Nothing is dropped while the disk fills: prune it with
  `layerline store`.
- **Layers** are byte for byte the same wherever and whenever they are made: what the engine itself
  makes has the time 1980-01-01, an image's config has no build time, and times above
  `SOURCE_DATE_EPOCH` are lowered to it.
- **Network**: an exec that uses no service runs on this machine's network, as root's other
  programs do; it sees loopback ports of this machine. Beside services it gets a network of its
  own, where names resolve and from where the outside is reached; nothing reaches it from outside
  but through `up` and tunnels.
- **Confinement**: execs have BuildKit's default capabilities and a seccomp filter, and may gain
  privileges by setuid programs, as there. No user namespace is used: root in a container is root.
- **Platforms**: programs of other processors run only where the kernel knows how (binfmt);
  otherwise the exec fails.
- **Base images** that no registry gives are bootstrapped from the distribution's packages
  (`debian:*`, `ubuntu:*`), and said to be so.
- **Compression** of layers: gzip as fast as igzip makes it, zstd in its level 1. What a call is
  going to export or publish is compressed beside its steps: when it ends in `asTarball`, `export`
  or `publish`, or in a function with an argument `compression` that says zstd or gzip.
- **Module code** runs in a process of this machine with its own environment, not in a container.
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
        if not rows and graphql_type.name in _value_classes():
            rows = [("id", "supported")]  # a type that is only handed on
        elif all(status == "refused" for _, status in rows):
            refused.append(graphql_type.name)
            continue
        yield f"## {graphql_type.name}\n"
        yield "| field | status |\n| --- | --- |"
        for name, status in rows:
            yield f"| `{name}` | {status} |"
        yield ""
    yield "## Types that are refused as a whole\n"
    yield textwrap.fill(", ".join(f"`{name}`" for name in refused), _WIDTH)


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
