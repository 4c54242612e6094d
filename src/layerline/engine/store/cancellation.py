"""Ends long work in a thread soon after it has been cancelled.

Whoever starts the work names the event that cancels it; loops over data call `check_cancelled`.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from layerline.errors import Cancelled

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

T = TypeVar("T")

_current: ContextVar[threading.Event | None] = ContextVar("cancelled", default=None)


@contextlib.contextmanager
def cancelled_by(event: threading.Event) -> Iterator[None]:
    """Within the block, in this thread, `check_cancelled` raises once the event is set."""
    token = _current.set(event)
    try:
        yield
    finally:
        _current.reset(token)


def carried(function: Callable[..., T]) -> Callable[..., T]:
    """The function; in another thread it is cancelled with the work of this one."""
    event = _current.get()
    if event is None:
        return function

    def run(*arguments: object) -> T:
        with cancelled_by(event):
            return function(*arguments)

    return run


def check_cancelled() -> None:
    """Raise Cancelled if the work of this thread has been cancelled."""
    event = _current.get()
    if event is not None and event.is_set():
        message = "the call was cancelled"
        raise Cancelled(message)
