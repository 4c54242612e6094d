"""Seeded data, files of it, and the application with its lifespan but without a socket."""

from __future__ import annotations

import csv
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import numpy as np
import pytest

from ct_scan_mlops.monitoring import reference as references
from ct_scan_mlops.settings import DriftSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import httpx
    from numpy.typing import NDArray

    from ct_scan_mlops.monitoring.reference import Reference

NAMES = ("glcm_joint_entropy", "glrlm_run_percentage", "stat_mean", "stat_var")
WIDTH = 6


class Serving(Protocol):
    """Runs the application of some settings; waits until it is ready unless told not to."""

    def __call__(
        self, settings: DriftSettings, *, ready: bool = True
    ) -> AbstractAsyncContextManager[httpx.AsyncClient]: ...


class Polled(Protocol):
    """What the fixture `polled` gives."""

    def __call__(
        self, client: httpx.AsyncClient, wanted: Callable[[httpx.Response], bool]
    ) -> Awaitable[httpx.Response]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Draws observations of one distribution, moved by `shift` standard deviations."""

    names: tuple[str, ...] = NAMES
    width: int = WIDTH

    def rows(self, count: int, *, seed: int, shift: float = 0.0) -> NDArray[np.float64]:
        columns = len(self.names) + self.width
        return np.random.default_rng(seed).normal(shift, 1.0, size=(count, columns))

    def observations(self, count: int, *, seed: int, shift: float = 0.0) -> list[dict[str, Any]]:
        split = len(self.names)
        return [
            {
                "features": dict(zip(self.names, row[:split].tolist(), strict=True)),
                "embedding": row[split:].tolist(),
            }
            for row in self.rows(count, seed=seed, shift=shift)
        ]

    def write(self, path: Path, rows: NDArray[np.float64]) -> Path:
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*self.names, *(f"embedding_{number}" for number in range(self.width))])
            writer.writerows(rows.tolist())
        return path


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def reference_path(source: Source, tmp_path: Path) -> Path:
    return source.write(tmp_path / "reference.csv", source.rows(400, seed=1))


@pytest.fixture
def reference(reference_path: Path) -> Reference:
    return references.load(reference_path)


@pytest.fixture
def settings(reference_path: Path, tmp_path: Path) -> DriftSettings:
    return DriftSettings(
        reference_path=reference_path, state_dir=tmp_path / "state", window=300, port=1
    )


@pytest.fixture
def serving(polled: Polled) -> Serving:
    clients = pytest.importorskip("httpx")
    pytest.importorskip("fastapi")
    pytest.importorskip("prometheus_client")
    from ct_scan_mlops.monitoring.application import create_app

    @asynccontextmanager
    async def running(
        settings: DriftSettings, *, ready: bool = True
    ) -> AsyncIterator[httpx.AsyncClient]:
        app = create_app(settings)
        # As a server does, which answers 500 where this raises.
        transport = clients.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            clients.AsyncClient(transport=transport, base_url="http://drift") as client,
        ):
            if ready:
                await polled(client, lambda answer: answer.status_code == 200)
            yield client

    return running


@pytest.fixture
def polled() -> Polled:
    """Asks /ready until the answer is what is waited for, and returns it."""

    async def asked(
        client: httpx.AsyncClient, wanted: Callable[[httpx.Response], bool]
    ) -> httpx.Response:
        with anyio.fail_after(30):
            while not wanted(answer := await client.get("/ready")):  # noqa: ASYNC110 - over HTTP
                await anyio.sleep(0.02)
        return answer

    return asked
