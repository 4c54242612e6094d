"""What holds for every message: what is wrong, why and what to do next, in words of the user's."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.mistakes.mistake import Mistake
    from tests.mistakes.shown import Shown

SOURCE = Path(__file__).parents[2] / "src/layerline"
MOST_LINES = 6
# layerline.errors, docs/how-to/ci.md; a failed step ends with the code of its own program.
EXIT_CODES = (1, 2, 4, 5, 6, 7, 8)
# Of Python and of the engine: nobody but their authors knows what they are.
_INNER = re.compile(
    r"\b(?:NoneType|PosixPath|TypeError|ValueError|KeyError|AttributeError|OSError|ExceptionGroup"
    r"|Errno|errno|sqlite3?|asyncio|anyio|httpx|httpcore|pydantic|cattrs|subprocess"
    r"|snapshot id|solver|op(?=\s)|ops\b|whiteout|traceparent|__\w+__)\b"
    r"|<class |<[\w.]+ object|0x[0-9a-f]{6}"
)
_REPR = re.compile(r"\b(?:None|True|False)\b|\['|\('|\{'|\bb'|\bdict_\w+\(")
_JSON = re.compile(r'\{\s*"|":\s*["{\[\d]')
_CLASS = re.compile(r"^\s*class (_?[A-Z]\w*)", re.MULTILINE)
_CAMEL = re.compile(r"\b[A-Z][a-z]+(?:[A-Z][a-z0-9]+)+\b")
# What the SDK and the API call themselves, which users write in modules and queries.
_PUBLIC = frozenset({"FunctionError", "ObjectNotFoundError", "QueryError", "ModuleLoadError"})
_NEXT = re.compile(
    r"\b(?:use|run|add|remove|set|unset|give|name|check|see|fix|choose|make|write|regenerate|lock"
    r"|did you mean|install|start|install|try|move|rename|repair|update|log in|free|wait|leave"
    r"|install|pass|put|change|review|call|take|report|mark|list|allow|export|declare|return)\b",
    re.IGNORECASE,
)


# A name, or a short list of what can be.
_SUGGESTED = r"(?s:(?:[Dd]id you mean|\b[Uu]se|choose one of|should be one of)\b.*)"


def problems(mistake: Mistake, shown: Shown) -> Iterator[str]:
    """Yield what of a message is not as it must be."""
    lines = [line for line in shown.message.splitlines() if line]
    if len(lines) > MOST_LINES:
        yield f"{len(lines)} lines; a user reads {MOST_LINES}"
    if not shown.message.startswith("Error: "):
        yield "does not begin with 'Error: '"
    if shown.stdout:
        yield f"standard output has {shown.stdout!r}"
    if shown.status not in EXIT_CODES:
        yield f"exit code {shown.status} is not documented"
    if not mistake.traceback and "Traceback (most recent call last)" in shown.log:
        yield "a traceback"
    if mistake.near and not re.search(_SUGGESTED + re.escape(mistake.near), shown.message):
        yield f"{mistake.near!r} is not suggested"
    if not mistake.dagger:
        yield from _wording(shown.message)


def _wording(text: str) -> Iterator[str]:
    """Yield what Layerline's own messages must not have; those of Dagger are as recorded."""
    for pattern, what in ((_INNER, "an inner word"), (_REPR, "a repr"), (_JSON, "JSON")):
        if found := pattern.search(text):
            yield f"{what}: {found[0]!r}"
    for name in _CAMEL.findall(text):
        if name in class_names():
            yield f"the name of a class: {name}"
    if not _NEXT.search(text):
        yield "does not say what to do next"


@functools.cache
def class_names() -> frozenset[str]:
    """The names of Layerline's own classes; the API's types have public ones."""
    from layerline.engine.module.core import core_types

    own = {name for path in SOURCE.rglob("*.py") for name in _CLASS.findall(path.read_text())}
    return frozenset(own - _PUBLIC - set(core_types()))
