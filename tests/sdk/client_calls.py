"""What the client of an SDK asks for, measured: the calls in its generated code, in our schema.

python -m tests.sdk.client_calls GEN.PY VERSION > docs/reference/dagger-1.0.md
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from graphql import GraphQLInterfaceType, GraphQLObjectType, get_named_type

from layerline.engine.api.schema import served_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ABOUT = Path(__file__).with_name("dagger_1_0.md")
_FOUND = "<!-- measured -->\n"
_SELECTS = ("_select", "_select_multiple")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCall:
    """One method of the client: a field of a type, its arguments, the object that it gives."""

    type_name: str
    field: str
    arguments: tuple[str, ...]
    returned: str


def calls(path: Path) -> list[ClientCall]:
    """The calls in `dagger/client/gen.py`."""
    module = ast.parse(path.read_text())
    classes = {each.name for each in module.body if isinstance(each, ast.ClassDef)}
    return [
        found
        for each in module.body
        if isinstance(each, ast.ClassDef) and not each.name.startswith("_")
        for method in each.body
        for found in _calls_of(each.name, method, classes)
    ]


def _calls_of(owner: str, method: ast.stmt, classes: set[str]) -> Iterator[ClientCall]:
    arguments: list[str] = []
    field = returned = ""
    for node in ast.walk(method):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Call):
            name = getattr(node.value.func, "id", "")
            returned = name if name in classes else returned
        if not isinstance(node, ast.Call) or not node.args:
            continue
        first = node.args[0]
        text = first.value if isinstance(first, ast.Constant) else None
        if getattr(node.func, "id", "") == "Arg":
            arguments.append(str(text))
        elif getattr(node.func, "attr", "") in _SELECTS:
            field = str(text)
    if field:
        yield ClientCall(
            type_name=owner, field=field, arguments=tuple(arguments), returned=returned
        )


@dataclass(slots=True)
class Measured:
    """The calls of a client that differ from our schema, by types."""

    total: int = 0
    types: set[str] = field(default_factory=set)
    of_types: int = 0
    fields: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    arguments: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    returned: list[str] = field(default_factory=list)


def measure(found: Iterable[ClientCall]) -> Measured:
    """Compare calls with the schema that sessions serve."""
    schema = served_schema()
    measured = Measured()
    for call in found:
        measured.total += 1
        known = schema.type_map.get(call.type_name)
        if not isinstance(known, GraphQLObjectType | GraphQLInterfaceType):
            measured.types.add(call.type_name)
            measured.of_types += 1
            continue
        ours = known.fields.get(call.field)
        if ours is None:
            measured.fields[call.type_name].append(call.field)
            continue
        missing = [name for name in call.arguments if name not in ours.args]
        if missing:
            shown = f"{call.field}({', '.join(missing)})"
            measured.arguments[call.type_name].append(shown)
        given = get_named_type(ours.type).name
        if call.returned and given != call.returned:
            measured.returned.append(f"`{call.type_name}.{call.field}`: {call.returned}, {given}")
    return measured


def page(path: Path, version: str) -> str:
    """The page of the documentation."""
    about = _ABOUT.read_text().replace("VERSION", version)
    found = measure(calls(path))
    lacking = sum(map(len, found.fields.values()))
    known = found.total - found.of_types - lacking
    summary = (
        f"The client has {found.total} calls. {known} of them exist here; [the embedded engine's "
        f"API](../engine.md) says which of those are refused. {lacking} are fields that v0.21.8 "
        f"does not have, and {found.of_types} belong to {len(found.types)} types that it does not "
        "have.\n"
    )
    parts = [
        summary,
        "## Types that do not exist\n",
        _wrapped(sorted(found.types)),
        "## Fields that do not exist\n",
        _table(found.fields),
        "## Arguments that do not exist\n",
        "A program that does not give them is not affected: the SDK leaves defaults out.\n",
        _table(found.arguments),
        "## Fields that give another type\n",
        "The client's type, then ours:\n",
        "".join(f"- {line}\n" for line in found.returned),
        "",
    ]
    return about.replace(_FOUND, "\n".join(parts))


def _wrapped(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) + "\n"


def _table(found: dict[str, list[str]]) -> str:
    rows = [
        f"| `{name}` | {', '.join(f'`{each}`' for each in sorted(fields))} |\n"
        for name, fields in sorted(found.items())
    ]
    return "".join(["| type | fields |\n| --- | --- |\n", *rows])


if __name__ == "__main__":
    sys.stdout.write(page(Path(sys.argv[1]), sys.argv[2]))
