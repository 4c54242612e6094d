"""How many uploads are taken in at once, and with how much memory.

Each upload reserves what it says it will send (or the most that it may) before a byte of it is
read. A few requests more wait for a place, for a bounded time; all others are refused at once,
which costs little and keeps the process answering. That is what holds memory under a flood.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field

import anyio
from starlette.types import ASGIApp, Receive, Scope, Send

from ct_scan_mlops.web.bodies import declared_length
from ct_scan_mlops.web.problems import Overloaded

PLACES = 32
WAITING = 64
RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What the admitted requests may hold together."""

    upload_bytes: int
    places: int = PLACES
    waiting: int = WAITING
    wait_seconds: float = 5.0


@dataclass(slots=True, kw_only=True)
class Admission:
    """The places, and who is in them."""

    capacity: Capacity
    admitted: int = 0
    reserved: int = 0
    waiting: int = 0
    _freed: anyio.Condition = field(default_factory=anyio.Condition)

    @asynccontextmanager
    async def place(self, size: int) -> AsyncIterator[None]:
        """A place for an upload of `size` bytes; raises Overloaded where there is none in time."""
        if self.waiting or not self._fits(size):
            await self._wait_for(size)
        else:
            self._enter(size)
        try:
            yield
        finally:
            self.admitted -= 1
            self.reserved -= size
            with anyio.CancelScope(shield=True):
                async with self._freed:
                    self._freed.notify_all()

    async def _wait_for(self, size: int) -> None:
        if self.waiting >= self.capacity.waiting:
            raise _overloaded()
        self.waiting += 1
        try:
            with anyio.fail_after(self.capacity.wait_seconds):
                async with self._freed:
                    while not self._fits(size):
                        await self._freed.wait()
                    self._enter(size)
        except TimeoutError as exc:
            raise _overloaded() from exc
        finally:
            self.waiting -= 1

    def _fits(self, size: int) -> bool:
        room = self.capacity.upload_bytes - self.reserved
        return self.admitted < self.capacity.places and size <= room

    def _enter(self, size: int) -> None:
        self.admitted += 1
        self.reserved += size


def _overloaded() -> Overloaded:
    return Overloaded(
        "All places are taken.",
        f"Try again after {RETRY_AFTER_SECONDS} s, with fewer requests at the same time.",
        retry_after=RETRY_AFTER_SECONDS,
    )


@dataclass(frozen=True, slots=True)
class AdmittedUploads:
    """The layer that lets an upload to `path` through only once it has a place."""

    app: ASGIApp
    _: KW_ONLY
    path: str
    admission: Admission
    most_bytes: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != self.path:
            await self.app(scope, receive, send)
            return
        declared = declared_length(scope)
        size = self.most_bytes if declared is None else min(declared, self.most_bytes)
        try:
            async with self.admission.place(size):
                await self.app(scope, receive, send)
        except Overloaded as problem:
            await problem.response()(scope, receive, send)
