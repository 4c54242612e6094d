"""A program's standard streams: where they come from, and what becomes of what it writes.

Output is scrubbed, passed on at once, and kept. Invariants: memory stays bounded however much is
written; redirects are regular files inside the container's root, 0600 when they are new. A device
there is never opened: the engine would open the host's.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.engine.runtime.confined_root import join
from layerline.scrub import Scrubber

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import ExitStack

    from layerline.command import Process
    from layerline.engine.runtime.root import Root
    from layerline.engine.runtime.spec import ContainerSpec, Output

STDOUT, STDERR = 1, 2
# Four times what a pipe holds by default: each piece costs as much as its bytes do otherwise.
_PIECE = 1 << 18
_NOWHERE = "/dev/null"  # /dev is not mounted yet when the files are opened
_TICK = 0.05  # seconds between calls of `on_tick`


def open_stdin(spec: ContainerSpec, root: Root, stack: ExitStack) -> int | None:
    """A descriptor to read from, or None for nothing to read."""
    if spec.redirect_stdin not in (None, _NOWHERE):
        path = join(spec.cwd, str(spec.redirect_stdin))
        descriptor = root.inside.open_file(path, os.O_RDONLY)
    elif spec.stdin:
        descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
        with os.fdopen(os.dup(descriptor), "wb") as writer:
            writer.write(spec.stdin)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        return None
    stack.callback(os.close, descriptor)
    return descriptor


def open_redirects(spec: ContainerSpec, root: Root, stack: ExitStack) -> dict[int, int]:
    """Descriptors of the files that take the outputs as well, by stream."""
    redirects: dict[int, int] = {}
    for stream, path in ((STDOUT, spec.redirect_stdout), (STDERR, spec.redirect_stderr)):
        if path in (None, "", _NOWHERE):
            continue
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with root.creating():
            descriptor = root.inside.open_file(join(spec.cwd, str(path)), flags, 0o600)
        stack.callback(os.close, descriptor)
        os.fchown(descriptor, *root.owner)
        redirects[stream] = descriptor
    return redirects


@dataclass(slots=True, kw_only=True)
class Sinks:
    """Where output goes: by stream, together, to redirect files, and to whoever listens."""

    outputs: Mapping[int, Output]
    combined: Output
    redirects: Mapping[int, int]
    listener: Callable[[bytes, int], None]
    first: int | None = None

    def write(self, data: bytes, stream: int) -> None:
        """Take a piece of a stream. While only one was written to, it is not stored twice."""
        if not data:
            return
        if self.first is None:
            self.first = stream
            self.combined.copy(self.outputs[stream])
        if stream != self.first or not self.combined.is_copy(self.outputs[stream]):
            self.combined.write(data)
        self.outputs[stream].write(data)
        if stream in self.redirects:
            _write_all(self.redirects[stream], data)
        self.listener(data, stream)


def follow(
    process: Process[bytes],
    sinks: Sinks,
    secrets: Sequence[bytes],
    *,
    on_tick: Callable[[], None],
) -> int:
    """Read both streams of a program to its end; returns its status.

    `on_tick` is called many times a second, to kill the program when it has been cancelled.
    """
    streams = {STDOUT: process.stdout, STDERR: process.stderr}
    scrubbers = {stream: Scrubber(secrets) for stream in streams}
    with selectors.DefaultSelector() as selector:
        for stream, pipe in streams.items():
            if pipe is not None:
                with suppress(OSError):  # a user's pipes hold less when there are many
                    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIECE)
                selector.register(pipe, selectors.EVENT_READ, stream)
        due = 0.0
        while selector.get_map():
            for key, _ in selector.select(_TICK):
                data = os.read(key.fd, _PIECE)
                scrubber = scrubbers[key.data]
                sinks.write(scrubber.feed(data) if data else scrubber.finish(), key.data)
                if not data:
                    selector.unregister(key.fileobj)
            if time.monotonic() >= due:
                due = time.monotonic() + _TICK
                on_tick()
    for pipe in filter(None, streams.values()):
        pipe.close()
    return wait(process, on_tick=on_tick)


def wait(process: Process[bytes], *, on_tick: Callable[[], None]) -> int:
    """Wait for the end of a program; 128+n when signal n ended it."""
    descriptor = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while not selector.select(_TICK):
                on_tick()
    finally:
        os.close(descriptor)
    status = process.wait()
    return status if status >= 0 else 128 - status


def kill_process(number: int) -> None:
    """Send SIGKILL; a process that has ended already is ignored."""
    with suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
