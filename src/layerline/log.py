"""Progress as events: steps begin, write and end; listeners show or keep them.

The engine only emits; the command line renders the events and keeps the full log of a call on disk.
Secrets are masked here, in names, outputs and messages, before any listener gets them.
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import logging
import threading
import time
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING

from layerline.errors import Cancelled, LayerlineError
from layerline.scrub import MaskedStream, SecretMasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    # The value of an attribute of a span, as OpenTelemetry has them; lists are left out. The doctor
    # reads this module with Python 3.9, to which unions are not known at run time.
    Attribute = str | bool | int | float

_logger = logging.getLogger("layerline")
_parent: contextvars.ContextVar[int | None] = contextvars.ContextVar("parent", default=None)


def debug(message: str, *args: object) -> None:
    """A line for developers; shown with --debug and kept in the log of a call."""
    _logger.debug(message, *args)


class Status(Enum):
    """How a step ended."""

    DONE = "DONE"
    CACHED = "CACHED"
    ERROR = "ERROR"
    CANCELED = "CANCELED"


class Kind(Enum):
    """What a step is: work of the engine, a function call, or a span that a module opened."""

    WORK = "work"
    CALL = "call"
    SPAN = "span"


@dataclass(frozen=True)
class Event:
    """One thing that happened to a step.

    `time` is in seconds since the epoch, `seconds` how long the step took. `parent` is the step
    that it is a part of, which may begin later: a span's name arrives after its work.
    `attributes` are those of a span. `received` is set while a step downloads: the bytes that it
    has, of as many as are `expected` where that is known.
    """

    step: int
    name: str
    time: float
    kind: Kind = Kind.WORK
    parent: int | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    output: bytes | None = None
    stream: int = 1
    received: int | None = None
    expected: int = 0
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
    kind: Kind = Kind.WORK
    parent: int | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    ended: bool = False
    streams: dict[int, MaskedStream] = field(default_factory=dict)

    def write(self, data: bytes, stream: int = 1) -> None:
        """Output of the step: 1 is stdout, 2 is stderr."""
        masked = self.streams.setdefault(stream, MaskedStream(self.journal.masks))
        self._emit_output(masked.feed(data), stream)

    def _emit_output(self, data: bytes, stream: int) -> None:
        if data:
            self.journal.emit(replace(self.event(time.time()), output=data, stream=stream))

    def report(self, received: int, expected: int = 0) -> None:
        """The bytes that the step has downloaded, of as many as are expected; 0 if unknown."""
        if not self.ended:
            when = time.time()
            self.journal.emit(replace(self.event(when), received=received, expected=expected))

    def event(self, when: float) -> Event:
        """An event of this step that tells nothing but that it has begun."""
        return Event(
            step=self.number,
            name=self.name,
            time=when,
            kind=self.kind,
            parent=self.parent,
            attributes=self.attributes,
        )

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        """Steps that begin in this context until the end of the block are parts of this one."""
        with parts_of(self.number):
            yield

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

    def end(
        self, status: Status = Status.DONE, message: str = "", *, when: float | None = None
    ) -> None:
        """The step is over; a second call does nothing."""
        if self.ended:
            return
        self.ended = True
        for stream, masked in self.streams.items():
            self._emit_output(masked.finish(), stream)
        ended = time.time() if when is None else when
        self.journal.emit(
            replace(
                self.event(ended),
                status=status,
                seconds=ended - self.began,
                message=self.journal.masks.mask(message),
            )
        )


@contextlib.contextmanager
def parts_of(step: int | None) -> Iterator[None]:
    """Steps that begin in this context until the end of the block are parts of a step."""
    token = _parent.set(step)
    try:
        yield
    finally:
        _parent.reset(token)


@dataclass
class Journal:
    """Numbers the steps and hands every event to every listener, in order."""

    listeners: list[Callable[[Event], None]] = field(default_factory=list)
    masks: SecretMasks = field(default_factory=SecretMasks)
    displays: list[Callable[[], AbstractContextManager[None]]] = field(default_factory=list)
    _held: list[Event] | None = None
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def step(self, name: str, kind: Kind = Kind.WORK) -> Step:
        """Begin a step, as a part of the one that this context is in."""
        return self.begin(self.next_number(), name, kind=kind, parent=_parent.get())

    def next_number(self) -> int:
        """The number of a step that begins later."""
        return next(self._numbers)

    def begin(
        self,
        number: int,
        name: str,
        *,
        kind: Kind,
        parent: int | None,
        began: float | None = None,
        attributes: Mapping[str, Attribute] = MappingProxyType({}),
    ) -> Step:
        """Begin a step whose number is known already."""
        step = Step(
            journal=self,
            number=number,
            name=self.masks.mask(name),
            began=time.time() if began is None else began,
            kind=kind,
            parent=parent,
            attributes=attributes,
        )
        self.emit(step.event(step.began))
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
