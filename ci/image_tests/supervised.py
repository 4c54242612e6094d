"""Services under a supervisor (`ci/programs/supervisor.py`), as a test sees them."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SUPERVISOR_PORT = 9900
PAUSE_SECONDS = 0.05
PATIENCE_SECONDS = 120.0
MOST_LOG = 20_000
RESULTS = Path("/mnt/results")
SUPERVISED: list[SupervisedService] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a process ended: its status, None if it had to be killed, and after how many seconds."""

    status: int | None
    seconds: float


@dataclass(slots=True, kw_only=True)
class SupervisedService:
    """A service under a supervisor, and the variables that it runs with."""

    host: str
    port: int
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60.0))
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def start(self, variables: Mapping[str, str], *, port: int | None = None) -> float:
        """Restart the service and wait until it answers; returns the seconds that this took."""
        began = time.monotonic()
        self.port = port or self.port
        self.variables = dict(variables)
        self._ask("start", self.variables)
        self.until(lambda: self.get("/health").status_code == 200)
        return time.monotonic() - began

    def with_variables(self, variables: Mapping[str, str]) -> SupervisedService:
        """Restart the service unless it already has these variables."""
        if self.variables != variables:
            self.start(variables)
        return self

    def end(self, *, number: int = signal.SIGTERM, seconds: float = 10.0) -> Ending:
        """Send a signal and see how it ends."""
        answer = self._ask("end", {"signal": number, "seconds": seconds})
        return Ending(status=answer["status"], seconds=answer["seconds"])

    def log(self) -> str:
        """Its output since its start."""
        return self.client.get(f"http://{self.host}:{SUPERVISOR_PORT}/log").text

    def process(self) -> dict[str, Any]:
        """Who it runs as, and with which rights."""
        answer = self.client.get(f"http://{self.host}:{SUPERVISOR_PORT}/process")
        seen: dict[str, Any] = answer.raise_for_status().json()
        return seen

    def metric(self, name: str) -> float:
        """A number that the service tells of itself."""
        lines = self.get("/metrics").text.splitlines()
        told = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return float(told[name])

    def get(self, path: str) -> httpx.Response:
        return self.client.get(self.url + path)

    def post(self, path: str, **body: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own
        return self.client.post(self.url + path, **body)

    def until(self, happened: Callable[[], bool]) -> None:
        """Wait until it has happened; until then the service may not answer at all."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                if happened():
                    return
            except httpx.TransportError:
                pass  # not listening yet
            time.sleep(PAUSE_SECONDS)
        pytest.fail(f"{self.host} did not come so far within {PATIENCE_SECONDS} s")

    def _ask(self, what: str, body: object) -> dict[str, Any]:
        answer = self.client.post(f"http://{self.host}:{SUPERVISOR_PORT}/{what}", json=body)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found


def supervise(host: str, port: int) -> SupervisedService:
    """A service whose log belongs under the tests that fail."""
    service = SupervisedService(host=host, port=port)
    SUPERVISED.append(service)
    return service


def load_result(name: str) -> Any:  # noqa: ANN401 - JSON
    """A document that was made for the test."""
    return json.loads((RESULTS / name).read_text())
