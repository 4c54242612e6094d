"""Changesets that functions return: shown, and applied after confirmation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerline.engine.module.queries import ask, literal
from layerline.errors import LayerlineError
from layerline.prompt import confirm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.cli.console import Console
    from layerline.engine.api.session import Session

_FIELDS = "isEmpty addedPaths modifiedPaths removedPaths"
_KINDS = (("added", "addedPaths"), ("changed", "modifiedPaths"), ("removed", "removedPaths"))


async def apply_changes(console: Console, session: Session, found: Sequence[str]) -> None:
    """Ask, unless --auto-apply answers, and export the changesets of some ids."""
    for name in found:
        await _apply(console, session, name)


async def is_empty(session: Session, name: str) -> bool:
    """Whether a changeset changes nothing."""
    query = f"{{ node(id: {literal(name)}) {{ ... on Changeset {{ isEmpty }} }} }}"
    return bool((await ask(session, query))["node"]["isEmpty"])


async def merge_changes(session: Session, found: Sequence[str]) -> str:
    """The id of one changeset with the changes of several, which must not contradict each other."""
    first, *others = found
    merged = f"withChangesets(changes: {literal(others)}, onConflict: FAIL_EARLY) {{ id }}"
    query = f"{{ node(id: {literal(first)}) {{ ... on Changeset {{ {merged} }} }} }}"
    return str((await ask(session, query))["node"]["withChangesets"]["id"])


async def _apply(console: Console, session: Session, name: str) -> None:
    node = f"node(id: {literal(name)})"
    query = f"{{ {node} {{ ... on Changeset {{ {_FIELDS} }} }} }}"
    changes: dict[str, Any] = (await ask(session, query))["node"]
    if changes["isEmpty"]:
        console.info("no changes to apply")
        return
    for word, key in _KINDS:
        for path in changes[key]:
            console.info(f"  {word:8} {path}")
    if console.options.apply or _confirm_apply():
        path = literal(str(console.workdir))
        await ask(session, f"{{ {node} {{ ... on Changeset {{ export(path: {path}) }} }} }}")


def _confirm_apply() -> bool:
    answer = confirm("Apply changes?")
    if answer is None:
        message = (
            "the function returned changes, which cannot be confirmed without a terminal: use "
            "--auto-apply (-y) to apply them to the current directory, or -o PATH to save them"
        )
        raise LayerlineError(message)
    return answer
