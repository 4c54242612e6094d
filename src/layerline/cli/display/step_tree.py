"""The steps of a call as a tree: which span of a module each belongs to, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from layerline.log import Event, Kind, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOTAL = "layerline.steps"
WAITS = "layerline.waits"


@dataclass(slots=True, eq=False)
class Node:
    """A step and what it has below it; `last` is the last event about it."""

    last: Event
    began: float
    parts: list[Node] = field(default_factory=list)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.last.status is None

    def status(self) -> Status | None:
        """How it ended: a span whose work all was in the store is cached."""
        if self.last.status is not Status.DONE or self.last.kind is not Kind.SPAN:
            return self.last.status
        ends = {each.last.status for each in self.work()}
        return Status.CACHED if ends == {Status.CACHED} else Status.DONE

    def work(self) -> Iterator[Node]:
        """The work below it, at any depth."""
        for each in self.parts:
            if each.last.kind is Kind.WORK:
                yield each
            yield from each.work()

    def spans(self) -> list[Node]:
        """The spans directly below it that are more than waiting."""
        return [each for each in self.parts if each.last.kind is Kind.SPAN and not each.waits]

    @property
    def waits(self) -> bool:
        """Whether it is a span that only waits for others."""
        return bool(self.last.attributes.get(WAITS))

    @property
    def is_said_by_spans(self) -> bool:
        """Whether it is a function that says itself what it does: it is not shown, too."""
        return self.last.kind is Kind.CALL and any(
            each.last.kind is Kind.SPAN for each in self.parts
        )

    def progress(self) -> str:
        """`n/m`, where the span says how many it will have below it; else empty."""
        total = self.last.attributes.get(TOTAL)
        if not isinstance(total, int):
            return ""
        return f"{sum(not each.running for each in self.spans())}/{total}"


@dataclass(slots=True, eq=False)
class StepTree:
    """All steps that are known; those whose parent is not known yet are kept for it."""

    nodes: dict[int, Node] = field(default_factory=dict)
    running: dict[int, Node] = field(default_factory=dict)
    _orphans: dict[int, list[Node]] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        """A listener of the journal."""
        self.take(event)

    def take(self, event: Event) -> Node:
        """Take an event of the journal, or see it again; gives the step that it tells of."""
        node = self.nodes.get(event.step)
        if node is None:
            node = self.nodes[event.step] = Node(last=event, began=event.time)
            self.running[event.step] = node
            node.parts += self._orphans.pop(event.step, [])
            if event.parent is not None:
                parent = self.nodes.get(event.parent)
                parts = parent.parts if parent else self._orphans.setdefault(event.parent, [])
                parts.append(node)
        elif event.output is None and event.received is None:
            node.last = event
        if not node.running:
            self.running.pop(event.step, None)
        return node

    def roots(self) -> Iterator[Node]:
        """The outermost spans that have spans below them, in the order in which they began."""
        for node in self.nodes.values():
            within = (each.last.kind for each in self.ancestors(node.last))
            if node.last.kind is Kind.SPAN and node.spans() and Kind.SPAN not in within:
                yield node

    def ancestors(self, event: Event) -> Iterator[Node]:
        """What a step is a part of, the nearest first."""
        number = event.parent
        while number is not None and (node := self.nodes.get(number)) is not None:
            yield node
            number = node.last.parent

    def span_of(self, event: Event) -> Node | None:
        """The nearest span that work is a part of; None for calls, and for spans themselves."""
        if event.kind is not Kind.WORK:
            return None
        return next((each for each in self.ancestors(event) if each.last.kind is Kind.SPAN), None)

    def is_folded(self, event: Event) -> bool:
        """Whether work is a part of a span, which stands for it; it may still have to arrive."""
        if event.kind is not Kind.WORK or event.parent is None:
            return False
        return event.parent not in self.nodes or self.span_of(event) is not None


@dataclass(slots=True, eq=False)
class Folded:
    """A listener that hands on what a person reads once: spans instead of the work in them.

    Of that work it hands on failures, and what is written to stderr, as its span's.
    """

    listener: Callable[[Event], None]
    tree: StepTree = field(default_factory=StepTree)

    def __call__(self, event: Event) -> None:
        """A listener of the journal."""
        node = self.tree.take(event)
        if event.received is not None:
            return
        if self.tree.is_folded(event):
            self._fold(event)
        elif node.waits:
            return
        elif event.status is not None:
            self.listener(replace(event, status=node.status()))
        else:
            self.listener(event)

    def _fold(self, event: Event) -> None:
        if event.status is Status.ERROR:
            self.listener(event)
        elif event.output is not None and event.stream == _STDERR:
            span = self.tree.span_of(event)
            if span is not None:
                self.listener(replace(event, step=span.last.step, name=span.last.name))


_STDERR = 2
