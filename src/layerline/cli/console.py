"""What one invocation works with: settings, options, output, and the log of what it does."""

from __future__ import annotations

import contextlib
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import host
from layerline.cli.progress import CallLog, PlainLines
from layerline.log import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from layerline.cli.options import Options
    from layerline.settings import Settings

_PLAIN = frozenset({"plain", "dots", "logs", "report"})


@dataclass(slots=True, kw_only=True)
class Console:
    """One invocation. `log` is there once something has begun that is worth a log."""

    program: str
    words: Sequence[str]
    options: Options
    settings: Settings
    journal: Journal = field(default_factory=Journal)
    log: CallLog | None = None

    @property
    def interactive(self) -> list[str]:
        """The program for a terminal where an exec failed; empty where none is wanted."""
        return shlex.split(self.options.interactive_command) if self.options.interactive else []

    @property
    def workdir(self) -> Path:
        """What relative paths of the user are relative to."""
        return Path.cwd() / self.options.workdir

    def print(self, text: str) -> None:
        """Write a result."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def tell(self, text: str) -> None:
        """Write a line beside the result."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
        if self.log is not None:
            self.log.write(text + "\n")

    def enter(self) -> None:
        """Begin the log, and go where the engine lives: once, before what is heavy is imported."""
        if self.log is not None:
            return
        self.log = CallLog.begin(self.settings.store, " ".join((self.program, *self.words)))
        self.journal.listeners.append(PlainLines(self.log.write))
        host.enter_namespaces()

    @contextlib.contextmanager
    def working(self) -> Iterator[Journal]:
        """Show the progress, unless it is unwanted, while the block lasts."""
        with contextlib.ExitStack() as stack:
            if not self.options.silent:
                self._show(stack)
            yield self.journal

    def _show(self, stack: contextlib.ExitStack) -> None:
        progress = self.options.progress
        if progress == "tty" or (progress not in _PLAIN and sys.stderr.isatty()):
            from layerline.cli.live import LiveView

            view = LiveView()
            stack.enter_context(view.showing())
            self.journal.listeners.append(view)
            self.journal.displays.append(view.hidden)
            stack.callback(self.journal.displays.clear)
        else:
            self.journal.listeners.append(PlainLines(sys.stderr.write))
        stack.callback(self.journal.listeners.pop)
