"""Whether a service is ready: a health check as Docker has it, or ports that answer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from layerline.engine.runtime.container_exec import execute_in
from layerline.errors import ExecError
from layerline.scrub import Scrubber

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layerline.command import Finished
    from layerline.engine.runtime.runc import Container

_TAIL = 4096  # bytes of a check's output that Docker keeps


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """A command that succeeds when the service is ready; times in seconds.

    As https://docs.docker.com/reference/dockerfile/#healthcheck has it: `retries` failures in a row
    make a service unhealthy, those within `start_period` do not count, and a run that takes longer
    than `timeout` has failed. The pause is shorter than Docker's 30 s, since a pipeline waits.
    """

    argv: tuple[str, ...]
    interval: float = 1.0
    timeout: float = 30.0
    start_period: float = 0.0
    retries: int = 3


class HealthChecks:
    """The checks of one start, one at a time."""

    def __init__(self, name: str, check: Healthcheck, *, given_up: Callable[[], bool]) -> None:
        self._name = name
        self._check = check
        self._given_up = given_up
        self._began = time.monotonic()
        self._failures = 0

    def is_healthy(self, container: Container | None, secrets: Sequence[bytes]) -> bool:
        """Check once, if the container runs; raises ExecError when it has failed too often."""
        if container is None or container.process() is None:
            return False
        check = self._check
        done = execute_in(container, check.argv, timeout=check.timeout, given_up=self._given_up)
        if done is not None and done.status == 0:
            return True
        if self._given_up():
            return False
        if time.monotonic() - self._began >= check.start_period:
            self._failures += 1
        if self._failures >= check.retries:
            self._fail(done, secrets)
        return False

    def _fail(self, done: Finished | None, secrets: Sequence[bytes]) -> NoReturn:
        reason = (
            f"no answer within {self._check.timeout:g} s"
            if done is None
            else f"exit code: {done.status}"
        )
        raise ExecError(
            command=self._check.argv,
            code=-1 if done is None else done.status,
            stdout="" if done is None else _masked(done.stdout, secrets),
            stderr="" if done is None else _masked(done.stderr, secrets),
            message=f"start {self._name}: health check failed: {reason}",
        )


def _masked(data: bytes, secrets: Sequence[bytes]) -> str:
    scrubber = Scrubber(secrets)
    text = scrubber.feed(data) + scrubber.finish()
    return text[-_TAIL:].decode(errors="replace")
