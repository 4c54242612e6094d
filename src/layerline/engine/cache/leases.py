"""Which of the machines that share a cache builds a key.

A lease is taken for a key that starts a container, by those who write. Where the registry honours
preconditions the first to write has it. Elsewhere the last writer wins, so who has found nobody
writes, lets a time pass in which all others that found nobody have written, and looks who it is
(Fischer's algorithm, https://doi.org/10.1145/7351.7352). Who was too slow for that waits for
longer, and holders put their lease back in the meantime.

Invariant: a lease never fails a build and delays it for a limited time. Without an answer of the
registry everybody builds.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from layerline import log
from layerline.engine.cache.lease import Lease, Watch
from layerline.errors import Cancelled, ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from layerline.engine.cache.lease_tag import LeaseTags, Seen
    from layerline.log import Journal

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
_END_SECONDS = 2.0
_MOST_CLAIMS = 3  # where the registry does not keep what is written, or a stranger writes as well
_VANISHED = 2  # looks at which nobody had a lease that somebody had before: a holder puts it back


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The times of the protocol, in seconds; all machines have to have the same `settle`.

    A lease is valid for `valid`, and once it is older than `proven` for `valid_long`. A claim is
    sure after `settle` if it took no longer than that to read and write it, otherwise after `late`,
    in which holders of less than `proven` that still build look `late / check` times. Nobody waits
    for others for longer than `patience`, and requests take no more than `budget` and a twentieth
    of the session.
    """

    settle: float = 0.3
    late: float = 2.5
    check: float = 0.75
    valid: float = 15.0
    valid_long: float = 60.0
    proven: float = 20.0
    patience: float = 1800.0
    budget: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The wish to build the record of a tag.

    `name` is that of the step. `look` looks for the record and takes it. `below` are tags of steps
    that this one is made from: while this session has the lease of one, nobody else is as far.
    `prepare` begins what is needed for the build, and does not wait: it is called while it is not
    sure yet that a claim holds.
    """

    tag: str
    name: str
    look: Callable[[], bool]
    below: Collection[str] = ()
    prepare: Callable[[], None] = lambda: None


@dataclass(slots=True, kw_only=True)
class _Held:
    """A lease of this session: its last text, and when it has to be looked at again."""

    lease: Lease
    since: float
    due: float
    renewed: float
    is_sent: bool = False
    is_over: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class Leases:
    """The leases of a session. Threads share it.

    `report` is called once if leases are given up. `before_waiting` sends what was held back: those
    who are waited for may be waiting for it.
    """

    tags: LeaseTags
    journal: Journal
    report: Callable[[str], None]
    before_waiting: Callable[[], None]
    timing: Timing = field(default_factory=Timing)
    is_used: bool = True
    _has_said: bool = False
    _began: float = field(default_factory=time.monotonic)
    _spent: float = 0.0
    _held: dict[str, _Held] = field(default_factory=dict)
    _is_closed: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _keeper: threading.Thread | None = None

    def wait(self, wanted: Wanted, cancel: threading.Event) -> bool:
        """Wait until this session may build; whether it found the record instead.

        Without a record call `end` after the build. Raises Cancelled.
        """
        try:
            with contextlib.ExitStack() as stack:
                return self.is_used and self._wait(wanted, cancel, stack)
        except ImageError as exc:
            self._give_up(str(exc))
            return False

    def keep(self, tags: Collection[str]) -> None:
        """Hold leases until their record was sent."""
        with self._changed:
            for tag in tags:
                if (held := self._held.get(tag)) is not None:
                    held.is_sent = True

    def end(self, tag: str, *, is_sent: bool = False) -> None:
        """Give a lease back; one whose record is being sent only once it `is_sent`."""
        with self._changed:
            held = self._held.get(tag)
            if held is not None and (is_sent or not held.is_sent):
                held.is_over, held.due = True, 0.0
                self._changed.notify_all()

    def close(self) -> None:
        """Give all leases back, if the registry answers soon."""
        with self._changed:
            self._is_closed = True
            for held in self._held.values():
                held.is_over, held.due = True, 0.0
            self._changed.notify_all()
        if self._keeper is not None:
            self._keeper.join(_END_SECONDS)

    def _wait(self, wanted: Wanted, cancel: threading.Event, stack: contextlib.ExitStack) -> bool:
        watch, began, waited, pause = Watch(), time.monotonic(), 0.0, _FIRST_PAUSE
        vanished = failed = 0
        while self.is_used and waited < self.timing.patience and failed < _MOST_CLAIMS:
            with self._measured(is_free=waited > 0):
                seen = self.tags.read(wanted.tag)
            is_taken = self._is_taken(seen, watch)
            if not is_taken and (waited == 0 or _has_expired(seen)):
                if self._claim(wanted, seen, cancel):
                    return self._look_again(wanted)
                failed += 1
                continue
            if wanted.look():
                return True
            vanished, failed = (0, 0) if is_taken else (vanished + 1, failed)
            if vanished == _VANISHED:  # the build has failed there, or is not shared
                return False
            if waited == 0:
                stack.enter_context(
                    self.journal.step(f"cache: wait for another machine: {wanted.name}")
                )
            self.before_waiting()
            _sleep(max(pause * random.uniform(0.8, 1.2), vanished * self.timing.check), cancel)
            pause = min(_LONGEST_PAUSE, pause * 1.3)
            waited = time.monotonic() - began
        if failed == _MOST_CLAIMS:
            self._say("the registry does not keep the lease that was written")
        else:
            self._say(f"no machine has built '{wanted.name}' in {waited:.0f} s")
        return False

    def _look_again(self, wanted: Wanted) -> bool:
        """Look for a record that came before the lease was taken."""
        if not wanted.look():
            return False
        self.end(wanted.tag)
        return True

    def _is_taken(self, seen: Seen, watch: Watch) -> bool:
        """Whether somebody else holds the lease and lives."""
        lease = seen.lease
        if lease is None or lease.is_released:
            return False
        return watch.is_alive(lease, seen.date, time.monotonic())

    def _claim(self, wanted: Wanted, seen: Seen, cancel: threading.Event) -> bool:
        """Try to take a lease that nobody has; whether it was."""
        lease = Lease(
            tag=wanted.tag,
            repository=self.tags.repository.reference.repository,
            holder=secrets.token_hex(16),
            seconds=self.timing.valid,
            renewed=seen.date or 0.0,
            made=int(time.time()),
        )
        with self._measured():
            if not self.tags.write(lease, over=seen):
                return False
        took = time.monotonic() - seen.asked
        if not self.tags.is_conditional and not self._holds_any(wanted.below):
            wanted.prepare()
            try:
                _sleep(
                    self.timing.settle if took <= self.timing.settle else self.timing.late, cancel
                )
            except Cancelled:
                self._hold(lease)
                self.end(lease.tag)
                raise
            with self._measured():
                found = self.tags.read(wanted.tag).lease
            if found is None or found.holder != lease.holder:
                return False
        self._hold(lease)
        return True

    def _holds_any(self, tags: Collection[str]) -> bool:
        with self._changed:
            held = [self._held[tag] for tag in tags if tag in self._held]
            return any(not each.is_over for each in held)

    def _hold(self, lease: Lease) -> None:
        now = time.monotonic()
        with self._changed:
            self._held[lease.tag] = _Held(
                lease=lease, since=now, renewed=now, due=now + self.timing.check
            )
            if self._keeper is None:
                self._keeper = threading.Thread(
                    target=self._keep_all, name="cache-leases", daemon=True
                )
                self._keeper.start()
            self._changed.notify_all()

    def _keep_all(self) -> None:
        """Look after the leases of the session until it ends."""
        while (held := self._next_due()) is not None:
            try:
                if held.is_over:
                    self._release(held)
                else:
                    self._look_after(held)
            except ImageError as exc:
                self._give_up(str(exc))
            except Exception as exc:
                if not self._is_closed:
                    raise
                log.debug("a lease is left to expire: %s", exc)

    def _next_due(self) -> _Held | None:
        with self._changed:
            while True:
                first = min(self._held.values(), key=lambda held: held.due, default=None)
                if first is None and self._is_closed:
                    return None
                rest = None if first is None else first.due - time.monotonic()
                if first is not None and rest is not None and rest <= 0:
                    return first
                self._changed.wait(rest)

    def _release(self, held: _Held) -> None:
        with self._changed:
            self._held.pop(held.lease.tag, None)
        self.tags.remove(held.lease, replace(held.lease, is_released=True))

    def _look_after(self, held: _Held) -> None:
        """Renew a lease, or put it back after somebody who was slow; not if it is another's now."""
        timing, lease = self.timing, held.lease
        seen = self.tags.read(lease.tag)
        found, now = seen.lease, time.monotonic()
        is_own = found is not None and found.holder == lease.holder
        if found is not None and not is_own and found.is_sure and not found.is_released:
            with self._changed:
                self._held.pop(lease.tag, None)
            return
        is_proven = now - held.since > timing.proven
        if not is_own or now - held.renewed > lease.seconds / 4:
            seconds = timing.valid_long if is_proven else timing.valid
            fresh = lease.renew(seen.date, seconds=seconds)
            self.tags.write(fresh, over=seen)
            held.lease, held.renewed = fresh, now
        elif self.tags.is_conditional is None:
            self.tags.probe(lease)
        is_safe = is_proven or held.is_sent or self.tags.is_conditional
        with self._changed:
            if not held.is_over:
                held.due = now + (held.lease.seconds / 3 if is_safe else timing.check)

    def _give_up(self, reason: str) -> None:
        """Use leases no more in this session."""
        with self._changed:
            self.is_used = False
            self._held.clear()
            self._changed.notify_all()
        self._say(reason)

    def _say(self, reason: str) -> None:
        with self._changed:
            is_first, self._has_said = not self._has_said, True
        if is_first:
            self.report(f"other machines may build the same steps: {reason}")

    @contextlib.contextmanager
    def _measured(self, *, is_free: bool = False) -> Iterator[None]:
        """Count the time of requests that delay the work, unless it waits for others anyway."""
        began = time.monotonic()
        yield
        if is_free:
            return
        now = time.monotonic()
        with self._changed:
            self._spent += now - began
            is_slow = self._spent > self.timing.budget + (now - self._began) / 20
        if is_slow:
            self._give_up("the registry answers slowly")


def _has_expired(seen: Seen) -> bool:
    """Whether a lease that is not valid was not given back either."""
    return seen.lease is not None and not seen.lease.is_released


def _sleep(seconds: float, cancel: threading.Event) -> None:
    if cancel.wait(seconds):
        message = "the call was cancelled"
        raise Cancelled(message)
