"""A changeset that a function returned: shown, and applied when the user agrees."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from layerline.cli.chain.queries import ask, literal
from layerline.errors import LayerlineError

if TYPE_CHECKING:
    from layerline.cli.chain.engine_session import InSession
    from layerline.cli.chain.evaluate import Outcome
    from layerline.cli.console import Console

_FIELDS = "isEmpty addedPaths modifiedPaths removedPaths"
_KINDS = (("added", "addedPaths"), ("changed", "modifiedPaths"), ("removed", "removedPaths"))


async def apply_changes(console: Console, backend: InSession, outcome: Outcome) -> None:
    """Ask, unless --auto-apply answers, and export the changes."""
    found = outcome.value if isinstance(outcome.value, list) else [outcome.value]
    for name in found:
        await _apply(console, backend, name)


async def _apply(console: Console, backend: InSession, name: str) -> None:
    node = f"node(id: {literal(name)})"
    query = f"{{ {node} {{ ... on Changeset {{ {_FIELDS} }} }} }}"
    changes: dict[str, Any] = (await ask(backend.session, query))["node"]
    if changes["isEmpty"]:
        console.tell("no changes to apply")
        return
    for word, key in _KINDS:
        for path in changes[key]:
            console.tell(f"  {word:8} {path}")
    if console.options.apply or _agreed():
        path = literal(str(console.workdir))
        await ask(
            backend.session, f"{{ {node} {{ ... on Changeset {{ export(path: {path}) }} }} }}"
        )


def _agreed() -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        message = (
            "the function returned changes and there is no terminal to ask whether to apply them: "
            "give --auto-apply (-y) to apply them to the current directory, or -o PATH to save them"
        )
        raise LayerlineError(message)
    sys.stderr.write("Apply changes? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
