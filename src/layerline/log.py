"""Progress as events: steps begin, write and end; listeners show or keep them.

The engine only emits; the command line renders the events and keeps the full log of a call on disk.
Secrets are masked here, in names, outputs and messages, before any listener gets them.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from layerline.errors import Cancelled, LayerlineError
from layerline.scrub import MaskedStream, SecretMasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

_logger = logging.getLogger("layerline")


def debug(message: str, *args: object) -> None:
    """A line for developers; shown with --debug and kept in the log of a call."""
    _logger.debug(message, *args)


class Status(Enum):
    """How a step ended."""

    DONE = "DONE"
    CACHED = "CACHED"
    ERROR = "ERROR"
    CANCELED = "CANCELED"


@dataclass(frozen=True)
class Event:
    """One thing that happened to a step.

    `time` is in seconds since the epoch, `seconds` how long the step took.
    """

    step: int
    name: str
    time: float
    output: bytes | None = None
    stream: int = 1
    status: Status | None = None
    seconds: float = 0.0
    message: str = ""


@dataclass
class Step:
    """A step under way. Use as a context manager, or call `end`."""

    journal: Journal
    number: int
    name: str
    began: float
    ended: bool = False
    streams: dict[int, MaskedStream] = field(default_factory=dict)

    def write(self, data: bytes, stream: int = 1) -> None:
        """Output of the step: 1 is stdout, 2 is stderr."""
        masked = self.streams.setdefault(stream, MaskedStream(self.journal.masks))
        self._emit_output(masked.feed(data), stream)

    def _emit_output(self, data: bytes, stream: int) -> None:
        if data:
            now = time.time()
            self.journal.emit(
                Event(step=self.number, name=self.name, time=now, output=data, stream=stream)
            )

    def __enter__(self) -> Step:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: object
    ) -> None:
        if error is None:
            self.end()
        elif isinstance(error, LayerlineError) and not isinstance(error, Cancelled):
            self.end(Status.ERROR, str(error))
        else:
            self.end(Status.CANCELED)

    def end(self, status: Status = Status.DONE, message: str = "") -> None:
        """The step is over; a second call does nothing."""
        if self.ended:
            return
        self.ended = True
        for stream, masked in self.streams.items():
            self._emit_output(masked.finish(), stream)
        now = time.time()
        self.journal.emit(
            Event(
                step=self.number,
                name=self.name,
                time=now,
                status=status,
                seconds=now - self.began,
                message=self.journal.masks.mask(message),
            )
        )


@dataclass
class Journal:
    """Numbers the steps and hands every event to every listener, in order."""

    listeners: list[Callable[[Event], None]] = field(default_factory=list)
    masks: SecretMasks = field(default_factory=SecretMasks)
    displays: list[Callable[[], AbstractContextManager[None]]] = field(default_factory=list)
    _held: list[Event] | None = None
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def step(self, name: str) -> Step:
        """Begin a step."""
        name = self.masks.mask(name)
        step = Step(journal=self, number=next(self._numbers), name=name, began=time.time())
        self.emit(Event(step=step.number, name=name, time=step.began))
        return step

    def emit(self, event: Event) -> None:
        """Hand an event to the listeners, or keep it for later while they are paused."""
        with self._lock:
            if self._held is not None:
                self._held.append(event)
                return
            for listener in self.listeners:
                listener(event)

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Release the terminal for the block; events are held back and emitted after it."""
        with contextlib.ExitStack() as stack:
            with self._lock:
                self._held = []
            stack.callback(self._resume)
            for display in self.displays:
                stack.enter_context(display())
            yield

    def _resume(self) -> None:
        with self._lock:
            held, self._held = self._held or [], None
        for event in held:
            self.emit(event)
