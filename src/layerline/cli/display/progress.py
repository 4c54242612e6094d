"""Progress and the log of a call: the journal's events as numbered lines with their times."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from layerline.cli.display.json_lines import JsonLines
from layerline.log import Event, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEPT_LOGS = 200
_FLOOD = 1 << 16  # bytes
_LONGEST_LINE = 1 << 20  # bytes; what is longer is shown as several lines
_FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")


def clock(seconds: float) -> str:
    """A time of the day, to the millisecond."""
    moment = datetime.datetime.fromtimestamp(seconds).astimezone()
    return f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}"


def without_terminal(
    progress: str, write: Callable[[str], object], verbosity: int
) -> Callable[[Event], None]:
    """A listener that writes progress in one of the formats for files and pipes."""
    match progress:
        case "dots":
            return Dots(write)
        case "json":
            return JsonLines(write)
        case "logs":
            return PlainLines(write, ends=False, outputs=verbosity >= 0)
        case "report":
            return PlainLines(write, outputs=False)
        case _:
            return PlainLines(write, outputs=verbosity >= 0, begins=verbosity > 0)


@contextlib.contextmanager
def debug_lines() -> Iterator[None]:
    """Write debug records of the `layerline` logger to stderr until the end of the block."""
    handler = logging.StreamHandler()
    handler.setFormatter(_FORMAT)
    logger = logging.getLogger("layerline")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@dataclass(slots=True)
class Dots:
    """Writes a character for each step that ended."""

    write: Callable[[str], object]

    def __call__(self, event: Event) -> None:
        """A listener of the journal."""
        if event.status is not None:
            self.write("X" if event.status is Status.ERROR else ".")


@dataclass(slots=True)
class _Partial:
    """The beginning of a line, in pieces: joining them at each would take quadratic time."""

    pieces: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, data: bytes) -> None:
        self.pieces.append(data)
        self.size += len(data)

    def take(self) -> bytes:
        text = b"".join(self.pieces)
        self.pieces.clear()
        self.size = 0
        return text


@dataclass(slots=True)
class PlainLines:
    """Writes events as lines.

    A step that ends at once takes only one, unless `begins` says otherwise; `outputs` and `ends`
    can be left out.
    """

    write: Callable[[str], object]
    outputs: bool = True
    ends: bool = True
    begins: bool = False
    began: dict[int, float] = field(default_factory=dict)
    pending: Event | None = None
    partial: dict[int, _Partial] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        """A listener of the journal."""
        if event.received is not None:
            return
        if event.output is None and event.status is None:
            self.began[event.step] = event.time
            self._settle()
            self.pending = event
            if self.begins:
                self._settle()
        elif event.output is not None:
            self._output(event.step, event.time, event.output)
        else:
            self._end(event)

    def _end(self, event: Event) -> None:
        if event.step in self.partial:
            self._lines(event.step, event.time, b"")
        if not self.ends:
            self.pending = None
            return
        if self.pending is not None and self.pending.step == event.step:
            self.pending = None
        self._settle()
        status = event.status or Status.DONE
        self._line(event.time, event.step, f"{event.name} {status.value} [{event.seconds:.1f}s]")
        if event.message:
            for line in event.message.splitlines():
                self._line(event.time, event.step, f"! {line}")

    def _settle(self) -> None:
        if self.pending is not None:
            begun, self.pending = self.pending, None
            self._line(begun.time, begun.step, begun.name)

    def _output(self, step: int, when: float, data: bytes) -> None:
        if not self.outputs:
            return
        self._settle()
        complete, newline, rest = data.rpartition(b"\n")
        if newline:
            self._lines(step, when, complete)
        if rest:
            partial = self.partial.setdefault(step, _Partial())
            partial.add(rest)
            if partial.size > _LONGEST_LINE:
                self._lines(step, when, b"")

    def _lines(self, step: int, when: float, complete: bytes) -> None:
        """Write lines of output at once: a program may write a million a second.

        They have their time each, unless that takes far more space than they do.
        """
        begun = self.partial.pop(step, None)
        data = complete if begun is None else begun.take() + complete
        since = when - self.began.get(step, when)
        before = f"{clock(when)} {step:<4}: [{since:.1f}s] | "
        lines = data.decode(errors="replace")
        if data.count(b"\n") * len(before) < max(_FLOOD, 3 * len(data)):
            lines = lines.replace("\n", "\n" + before)
        self.write(f"{before}{lines}\n")

    def _line(self, when: float, step: int, text: str) -> None:
        self.write(f"{clock(when)} {step:<4}: {text}\n")


@dataclass(slots=True)
class CallLog:
    """The full log of a call, in a file of its own from the first line on; old ones are removed."""

    path: Path
    file: IO[str]
    mask: Callable[[str], str] = str

    @classmethod
    def begin(cls, store: Path, command: str) -> CallLog:
        """Open the log of this process; OSError is raised where the store cannot be written."""
        directory = store / "logs"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        path = directory / f"{stamp}-{os.getpid()}.log"
        file = path.open("a", buffering=1, errors="backslashreplace")
        log = cls(path, file)
        log.write(f"{clock(time.time())} {command}\n")
        _make_room(directory)
        handler = _LogHandler(log)
        handler.setFormatter(_FORMAT)
        logging.getLogger().addHandler(handler)  # what libraries say belongs there, not on stderr
        logging.getLogger("layerline").setLevel(logging.DEBUG)
        return log

    def write(self, text: str) -> None:
        """Append to the log; a disk that is full loses lines of it, and nothing else."""
        if not self.file.closed:
            with contextlib.suppress(OSError):
                self.file.write(text)


class _LogHandler(logging.Handler):
    """Writes the records of libraries to the log of a call."""

    def __init__(self, log: CallLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Append one record."""
        self._log.write(self._log.mask(self.format(record)) + "\n")


def _make_room(directory: Path) -> None:
    logs = sorted(directory.glob("*.log"))
    for old in logs[:-KEPT_LOGS]:
        old.unlink(missing_ok=True)
