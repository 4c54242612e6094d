"""One more program in a running container, which ends in time with everything that it started."""

from __future__ import annotations

import os
import selectors
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import command
from layerline.engine.runtime.stdio import kill_process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layerline.engine.runtime.runc import Container

_TICK = 0.05
_KEPT = 1 << 20  # bytes of each output
_PIECE = 1 << 16


def execute_in(
    container: Container,
    argv: Sequence[str],
    *,
    timeout: float,
    given_up: Callable[[], bool] = lambda: False,
) -> command.Finished | None:
    """Run a program to its end, and return the first MiB of each of its outputs.

    None when it takes longer than `timeout` seconds or `given_up` says so: then it is killed.
    """
    pid_file = container.bundle / f"exec-{uuid.uuid4().hex[:12]}"
    process = command.start(
        [*container.arguments("exec", "--pid-file", pid_file), *argv],
        stdout=command.PIPE,
        stderr=command.PIPE,
        new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    kept = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    deadline = time.monotonic() + timeout
    try:
        with process.stdout, process.stderr, selectors.DefaultSelector() as selector:
            for descriptor in kept:
                selector.register(descriptor, selectors.EVENT_READ)
            while selector.get_map() or process.poll() is None:
                if time.monotonic() > deadline or given_up():
                    return None
                for key, _ in selector.select(_TICK):
                    data = os.read(key.fd, _PIECE)
                    kept[key.fd] += data[: _KEPT - len(kept[key.fd])]
                    if not data:
                        selector.unregister(key.fd)
                if not selector.get_map():
                    time.sleep(_TICK / 10)
    finally:
        _end(process, pid_file)
    stdout, stderr = kept.values()
    return command.Finished(status=process.returncode, stdout=bytes(stdout), stderr=bytes(stderr))


def _end(process: command.Process[bytes], pid_file: Path) -> None:
    if process.poll() is None:
        with suppress(FileNotFoundError, ValueError):
            _kill_tree(int(pid_file.read_text()))
        process.kill()
        process.wait()
    pid_file.unlink(missing_ok=True)


def _kill_tree(root: int) -> None:
    """Kill a process and its descendants; the parents first, which could start more."""
    pending = [root]
    while pending:
        process = pending.pop()
        children: list[int] = []
        with suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{process}/task").iterdir():
                children += map(int, (task / "children").read_text().split())
        kill_process(process)
        pending += children
