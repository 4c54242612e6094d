"""The client that a module's code sees: the SDK's own, without what would reach the host.

Dagger generates a module's client from a schema without them; here they are taken out of the SDK's
client. The type checks of its arguments are the same, but made only for the classes that are used.
"""

from __future__ import annotations

import ast
import re
from importlib.resources import files

HIDDEN = frozenset({"Host", "Engine", "EngineCache", "EngineCacheEntry", "EngineCacheEntrySet"})
_HIDDEN_IDS = frozenset(f"{name}ID" for name in HIDDEN)
_NAME = re.compile(r"\w+")
_FETCH = "fetch_schema_from_transport=True"


def without_host(source: str) -> str:
    """The text of `dagger/client/gen.py` without the hidden classes and what returns them."""
    gone: set[int] = set()
    for node in ast.parse(source).body:
        match node:
            case ast.ClassDef() if node.name in HIDDEN | _HIDDEN_IDS:
                gone.update(_lines(node))
            case ast.ClassDef():
                for member in node.body:
                    if isinstance(member, ast.FunctionDef) and _returns_hidden(member):
                        gone.update(_lines(member))
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List(elts=names)):
                for name in names:
                    if isinstance(name, ast.Constant) and name.value in HIDDEN | _HIDDEN_IDS:
                        gone.update(_lines(name))
            case _:
                pass
    lines = source.splitlines(keepends=True)
    return "".join(line for number, line in enumerate(lines, start=1) if number not in gone)


def with_late_checks(source: str) -> str:
    """The text of `dagger/client/_guards.py`, its type checks put off until a class is used."""
    late = files("layerline.resources").joinpath("late_checks.py").read_text()
    return f"{source}\n\n{late}\n\ntypecheck = checked_late(typecheck)\n"


def with_late_converters(source: str) -> str:
    """The text of `dagger/client/_core.py`, its converters put off until one is used."""
    late = files("layerline.resources").joinpath("late_converters.py").read_text()
    return f"{source}\n\n{late}\n\nmake_converter = made_late(make_converter)\n"


def with_plain_queries(source: str) -> str:
    """The text of `dagger/client/_core.py`, its queries written without the server's schema."""
    plain = files("layerline.resources").joinpath("plain_queries.py").read_text()
    return f"{source}\n\n{plain}\n\nContext.request = plain_requests(gql.GraphQLRequest)\n"


def without_schema(source: str) -> str:
    """The text of `dagger/client/_session.py`, which fetches no schema: nothing needs it."""
    found = source.replace(_FETCH, _FETCH.replace("True", "False"))
    assert found != source
    return found


def _returns_hidden(function: ast.FunctionDef) -> bool:
    named = _NAME.findall(ast.unparse(function.returns)) if function.returns else []
    return bool(HIDDEN & set(named))


def _lines(node: ast.ClassDef | ast.FunctionDef | ast.expr) -> range:
    first = node.lineno
    if not isinstance(node, ast.expr):
        first = min([first, *(decorator.lineno for decorator in node.decorator_list)])
    return range(first, (node.end_lineno or node.lineno) + 1)
