"""Changesets that functions return: shown, and applied after confirmation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerline.engine.module.queries import ask, literal
from layerline.errors import LayerlineError
from layerline.prompt import confirm

if TYPE_CHECKING:
    from layerline.cli.chain.engine_session import SessionBackend
    from layerline.cli.chain.evaluate import ChainResult
    from layerline.cli.console import Console

_FIELDS = "isEmpty addedPaths modifiedPaths removedPaths"
_KINDS = (("added", "addedPaths"), ("changed", "modifiedPaths"), ("removed", "removedPaths"))


async def apply_changes(console: Console, backend: SessionBackend, result: ChainResult) -> None:
    """Ask, unless --auto-apply answers, and export the changes."""
    found = result.value if isinstance(result.value, list) else [result.value]
    for name in found:
        await _apply(console, backend, name)


async def _apply(console: Console, backend: SessionBackend, name: str) -> None:
    node = f"node(id: {literal(name)})"
    query = f"{{ {node} {{ ... on Changeset {{ {_FIELDS} }} }} }}"
    changes: dict[str, Any] = (await ask(backend.session, query))["node"]
    if changes["isEmpty"]:
        console.info("no changes to apply")
        return
    for word, key in _KINDS:
        for path in changes[key]:
            console.info(f"  {word:8} {path}")
    if console.options.apply or _confirm_apply():
        path = literal(str(console.workdir))
        await ask(
            backend.session, f"{{ {node} {{ ... on Changeset {{ export(path: {path}) }} }} }}"
        )


def _confirm_apply() -> bool:
    answer = confirm("Apply changes?")
    if answer is None:
        message = (
            "the function returned changes, which cannot be confirmed without a terminal: use "
            "--auto-apply (-y) to apply them to the current directory, or -o PATH to save them"
        )
        raise LayerlineError(message)
    return answer
