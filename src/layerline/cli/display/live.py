"""Progress on a terminal: what runs now, as a tree at the bottom; what ended scrolls away above."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from layerline.cli.display.downloads import Downloads
from layerline.cli.display.step_tree import Node, StepTree
from layerline.log import Event, Kind, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARKS = {
    Status.DONE: ("done", "green"),
    Status.CACHED: ("cached", "blue"),
    Status.ERROR: ("failed", "red"),
    Status.CANCELED: ("canceled", "yellow"),
}
_PER_SECOND = 8
_LONGEST_SHOWN = 4096  # bytes of a line
_STDERR = 2


@dataclass(slots=True)
class _Writing:
    """What a step wrote last, and what it downloads."""

    last: str = ""
    downloads: Downloads = field(default_factory=Downloads)

    def take(self, output: bytes, *, shown: bool) -> None:
        """Take output, of which only downloads count where the rest is not to be shown."""
        lines = output.decode(errors="replace").splitlines()
        about = [self.downloads.read(line) for line in lines]
        others = [
            line for line, read in zip(lines, about, strict=True) if line.strip() and not read
        ]
        if others and shown:
            self.last = others[-1][-_LONGEST_SHOWN:]


@dataclass(slots=True)
class LiveView:
    """A listener of the journal that draws on a terminal while its block lasts.

    `keeps` leaves a line for each step that ended; failed ones have one always. `outputs` also
    leaves all that steps wrote, and the work that spans stand for.
    """

    keeps: bool = True
    outputs: bool = False
    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))
    tree: StepTree = field(default_factory=StepTree)
    live: Live | None = None
    ended: bool = False
    _writing: dict[int, _Writing] = field(default_factory=dict)

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Draw until the end of the block, then leave only what ended."""
        with Live(
            console=self.console,
            get_renderable=self._frame,
            refresh_per_second=_PER_SECOND,
            transient=True,
        ) as live:
            self.live = live
            try:
                yield
            finally:
                self.ended = True

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Leave the terminal to somebody else."""
        assert self.live is not None
        self.ended = True
        self.live.stop()
        try:
            yield
        finally:
            self.ended = False
            # It ends by showing all lines of a frame: from then on no height would be kept to.
            self.live.vertical_overflow = "ellipsis"
            self.live.start(refresh=True)

    def __call__(self, event: Event) -> None:
        """Take an event of the journal."""
        node = self.tree.take(event)
        folded = self.tree.is_folded(event) and not self.outputs
        if event.received is not None:
            if (writing := self._writing_of(event, folded=folded)) is not None:
                writing.downloads.take(event)
        elif event.output is not None:
            self._take_output(event, folded=folded)
        elif node.last.status is not None:
            self._writing.pop(event.step, None)
            failed = node.last.status is Status.ERROR
            if failed or (self.keeps and not folded):
                self._leave_line(node)

    def _take_output(self, event: Event, *, folded: bool) -> None:
        assert event.output is not None
        if self.outputs:
            lines = event.output.decode(errors="replace").split("\n")
            written = Text("\n".join(line for line in lines if line.strip()), style="dim")
            self.console.print(written, soft_wrap=True)
        if (writing := self._writing_of(event, folded=folded)) is not None:
            writing.take(event.output, shown=not folded or event.stream == _STDERR)

    def _writing_of(self, event: Event, *, folded: bool) -> _Writing | None:
        """What is shown below the step of an event, or below the span that stands for it."""
        span = self.tree.span_of(event) if folded else None
        if folded and span is None:
            return None
        step = event.step if span is None else span.last.step
        return self._writing.setdefault(step, _Writing())

    def _leave_line(self, node: Node) -> None:
        event, status = node.last, node.status()
        assert status is not None
        if node.waits or node.is_said_by_spans:
            return
        word, colour = _MARKS[status]
        clock = time.strftime("%H:%M:%S", time.localtime(event.time))
        line = f"{clock} {word:>8} {event.seconds:6.1f}s  {event.name}"
        self.console.print(Text(line, style=colour), no_wrap=True, overflow="ellipsis")
        if self.live is not None:  # else the step would be shown twice until the next frame
            self.live.refresh()

    def _frame(self) -> Group:
        now = time.time()
        lines: list[Text] = []
        if self.ended:  # the last frame is drawn in full: what is higher than the screen would stay
            return Group()
        for node in list(self.tree.running.values()):
            if not self._has_parent(node):
                self._draw(node, lines, now=now, depth=0)
        return Group(*lines)

    def _has_parent(self, node: Node) -> bool:
        return any(each.running for each in self.tree.ancestors(node.last))

    def _draw(self, node: Node, lines: list[Text], *, now: float, depth: int) -> None:
        event = node.last
        folds = event.kind is Kind.SPAN and not self.outputs
        below = [
            each
            for each in list(node.parts)
            if each.running and not (folds and each.last.kind is Kind.WORK)
        ]
        stands = not node.is_said_by_spans
        if stands:
            indent = "  " * depth
            style = "dim" if node.waits else "bold"
            text = f"  {now - node.began:6.1f}s  {indent}{event.name}  {node.progress()}"
            lines.append(_row(text.rstrip(), style))
            lines += [
                _row(f"           {indent}{line}", "dim") for line in self._below(event.step, now)
            ]
        for each in below:
            self._draw(each, lines, now=now, depth=depth + stands)

    def _below(self, step: int, now: float) -> Iterator[str]:
        writing = self._writing.get(step)
        if writing is None:
            return
        if line := writing.downloads.line(now) or writing.last:
            yield line


def _row(text: str, style: str) -> Text:
    """One line, whatever the width: the log of the call has the rest of a name that is cut."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
