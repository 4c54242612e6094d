"""Progress on a terminal: what runs now, kept at the bottom; what ended scrolls away above it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from layerline.log import Event, Status

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


@dataclass(slots=True)
class _Row:
    name: str
    began: float
    last: str = ""


@dataclass(slots=True)
class LiveView:
    """A listener of the journal that draws on a terminal while its block lasts.

    `keeps` leaves a line for each step that ended; failed ones have one always. `outputs` also
    leaves all that steps wrote.
    """

    keeps: bool = True
    outputs: bool = False
    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))
    rows: dict[int, _Row] = field(default_factory=dict)
    live: Live | None = None

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
            yield

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Leave the terminal to somebody else."""
        assert self.live is not None
        self.live.stop()
        try:
            yield
        finally:
            self.live.start(refresh=True)

    def __call__(self, event: Event) -> None:
        """Take an event of the journal."""
        if event.status is not None:
            self.rows.pop(event.step, None)
            word, colour = _MARKS[event.status]
            clock = time.strftime("%H:%M:%S", time.localtime(event.time))
            line = f"{clock} {word:>8} {event.seconds:6.1f}s  {event.name}"
            if self.keeps or event.status is Status.ERROR:
                self.console.print(Text(line, style=colour), soft_wrap=True)
        elif event.output is None:
            self.rows[event.step] = _Row(name=event.name, began=event.time)
        elif event.step in self.rows:
            if self.outputs:
                lines = event.output.decode(errors="replace").split("\n")
                written = Text("\n".join(line for line in lines if line.strip()), style="dim")
                self.console.print(written, soft_wrap=True)
            last = event.output[-_LONGEST_SHOWN:].rstrip().rpartition(b"\n")[2]
            self.rows[event.step].last = last.decode(errors="replace")

    def _frame(self) -> Group:
        now = time.time()
        lines: list[Text] = []
        for row in list(self.rows.values()):
            lines.append(Text(f"  {now - row.began:6.1f}s  {row.name}", no_wrap=True, style="bold"))
            if row.last:
                lines.append(Text(f"           {row.last}", no_wrap=True, style="dim"))
        return Group(*lines)
