"""What a call that built something did, in a few lines at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline.log import Kind, Status
from layerline.quantities import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.cli.display.step_tree import Node, StepTree

BYTES = "layerline.bytes"
PASSED = "layerline.passed"
DIGEST = "layerline.digest"
NEXT = "layerline.next"
_SLOWEST = 3
_LEAST_SECONDS = 1.0


def lines(tree: StepTree) -> Iterator[str]:
    """The summary: a line for each span that was not reused, the slowest, and what was written.

    Nothing for a call without spans, or one that failed: its error is what counts.
    """
    roots = [node for node in tree.nodes.values() if _is_root(node, tree)]
    if not roots or any(node.status() is not Status.DONE for node in _ended(roots)):
        roots = [node for node in roots if node.status() is Status.CACHED]
    for root in roots:
        yield from _of_root(root)
    if roots:
        yield from _written(tree)


def _ended(roots: list[Node]) -> list[Node]:
    return [node for node in roots if node.status() is not Status.CACHED]


def _is_root(node: Node, tree: StepTree) -> bool:
    kind = Kind.SPAN
    return (
        node.last.kind is kind
        and bool(node.spans())
        and not any(each.last.kind is kind for each in tree.ancestors(node.last))
    )


def _of_root(root: Node) -> Iterator[str]:
    spans = root.spans()
    made = [node for node in spans if node.status() is not Status.CACHED]
    reused = len(spans) - len(made)
    yield f"{root.last.name}: {root.last.seconds:.1f} s, {len(made)} rebuilt, {reused} reused"
    for node in made:
        yield f"  rebuilt {node.last.seconds:7.1f} s  {node.last.name}{_facts(node)}"
    slowest = sorted(made, key=lambda node: -node.last.seconds)[:_SLOWEST]
    named = [
        f"{node.last.name.partition(':')[0]} {node.last.seconds:.1f} s"
        for node in slowest
        if node.last.seconds >= _LEAST_SECONDS
    ]
    if len(made) > _SLOWEST and named:
        yield f"slowest: {', '.join(named)}"


def _facts(node: Node) -> str:
    facts = []
    attributes = node.last.attributes
    if count := _bytes(node):
        facts.append(f"{format_size(count)} downloaded")
    if passed := attributes.get(PASSED):
        facts.append(f"{passed} passed")
    return f"  ({', '.join(facts)})" if facts else ""


def _written(tree: StepTree) -> Iterator[str]:
    for node in tree.nodes.values():
        attributes = node.last.attributes
        if DIGEST in attributes and node.last.status in (Status.DONE, Status.CACHED):
            yield f"{node.last.name}: {attributes[DIGEST]}, {format_size(_bytes(node))}"
            if NEXT in attributes:
                yield f"next: {attributes[NEXT]}"


def _bytes(node: Node) -> float:
    """The attribute as a number: a module may set any attribute to anything."""
    count = node.last.attributes.get(BYTES)
    return count if isinstance(count, int | float) else 0
