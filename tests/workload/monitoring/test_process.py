"""The real process: what it acknowledged is there after kill -9, and SIGTERM ends it in time."""

from __future__ import annotations

import re
import signal
import socket
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from ct_scan_mlops.settings import environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import Process

    from tests.workload.monitoring.conftest import Polled, Source

pytestmark = pytest.mark.anyio
GRACE_SECONDS = 10
# The machine may have other work; what must not happen is waiting for a body or a report.
SLOWEST_SECONDS = 1.5
MODULE = "ct_scan_mlops.monitoring"


class Service:
    """Starts the module with the same reference and state again and again."""

    def __init__(self, tmp_path: Path, reference_path: Path, polled: Polled) -> None:
        self.tmp_path = tmp_path
        self.polled = polled
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.environment = {
            **environment(),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "REFERENCE_PATH": str(reference_path),
            "STATE_DIR": str(tmp_path / "state"),
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
        argv = [sys.executable, "-m", MODULE]
        with (self.tmp_path / "log").open("ab") as log:
            process = await anyio.open_process(argv, env=self.environment, stdout=log, stderr=log)
        try:
            await self._listening()
            # Shorter than the service keeps idle connections, which would be closed while in use.
            limits = httpx.Limits(keepalive_expiry=1)
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{self.port}", timeout=90, limits=limits
            ) as client:
                await self.polled(client, lambda answer: answer.status_code == 200)
                yield process, client
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _listening(self) -> None:
        with anyio.fail_after(30):
            while True:
                try:
                    await (await anyio.connect_tcp("127.0.0.1", self.port)).aclose()
                except OSError:
                    await anyio.sleep(0.05)
                else:
                    return

    async def ended(self, process: Process) -> float:
        began = monotonic()
        process.send_signal(signal.SIGTERM)
        with anyio.fail_after(2 * GRACE_SECONDS):
            assert await process.wait() == 0
        return monotonic() - began

    def log(self) -> str:
        return (self.tmp_path / "log").read_text()


@pytest.fixture
def service(tmp_path: Path, reference_path: Path, polled: Polled) -> Service:
    for module in ("fastapi", "uvicorn", "prometheus_client"):
        pytest.importorskip(module)
    return Service(tmp_path, reference_path, polled)


async def test_what_was_acknowledged_survives_kill_9_and_sigterm(
    service: Service, source: Source
) -> None:
    acknowledged = 0

    async def write(client: httpx.AsyncClient, writer: int) -> None:
        nonlocal acknowledged
        batch = source.observations(10, seed=writer)
        with suppress(httpx.TransportError):
            while True:
                answer = await client.post("/observations", json=batch)
                acknowledged += answer.json()["accepted"]

    async with service.running() as (process, client), anyio.create_task_group() as writers:
        for writer in range(16):
            writers.start_soon(write, client, writer)
        while acknowledged < 300:  # noqa: ASYNC110 - over HTTP
            await anyio.sleep(0.01)
        process.kill()

    async with service.running() as (process, client):
        ready = (await client.get("/ready")).json()
        drift = (await client.get("/drift")).json()
        assert await service.ended(process) < GRACE_SECONDS
    assert ready["note"] is None
    # What was kept but could not be acknowledged any more may be there too, in whole batches.
    received = drift["observations"]["received"]
    assert acknowledged <= received <= acknowledged + 160
    assert received % 10 == 0

    async with service.running() as (process, client):
        assert (await client.get("/drift")).json() == drift
    assert "Traceback" not in service.log()


async def test_a_report_is_made_beside_the_service_and_ends_with_it(
    service: Service, source: Source
) -> None:
    pytest.importorskip("evidently")
    slowest = 0.0
    async with service.running() as (process, client):
        await client.post("/observations", json=source.observations(60, seed=1))
        page: list[httpx.Response] = []

        async def ask() -> None:
            page.append(await client.get("/report"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            while not page:
                began = monotonic()
                assert (await client.get("/health")).status_code == 200
                slowest = max(slowest, monotonic() - began)
                await anyio.sleep(0.05)
        again = await client.get("/report")
        (worker,) = children(process.pid)
        assert await service.ended(process) < GRACE_SECONDS
    assert slowest < SLOWEST_SECONDS
    assert page[0].status_code == 200
    assert "60 observations: 0 of 4 features have drifted" in page[0].text
    assert page[0].headers["content-security-policy"].startswith("default-src 'none'")
    assert again.content == page[0].content
    assert not alive(worker)


async def test_sigterm_does_not_wait_for_a_report(service: Service, source: Source) -> None:
    pytest.importorskip("evidently")
    async with service.running() as (process, client), anyio.create_task_group() as tasks:
        await client.post("/observations", json=source.observations(60, seed=1))

        async def ask() -> None:
            with suppress(httpx.TransportError):
                await client.get("/report")

        tasks.start_soon(ask)
        with anyio.fail_after(20):
            while not (workers := children(process.pid)):  # noqa: ASYNC110 - of /proc
                await anyio.sleep(0.02)
        assert await service.ended(process) < GRACE_SECONDS
    assert not any(alive(worker) for worker in workers)


async def test_a_flood_of_large_bodies_leaves_health_and_memory_alone(
    service: Service, source: Source
) -> None:
    body = b"[" + b"[]," * 600_000 + b"[]]"
    statuses: list[int] = []
    slowest = 0.0

    async def post(client: httpx.AsyncClient) -> None:
        headers = {"content-type": "application/json"}
        answer = await client.post("/observations", content=body, headers=headers)
        statuses.append(answer.status_code)

    async with service.running() as (process, client):
        await client.post("/observations", json=source.observations(60, seed=1))
        # Loads all libraries.
        before_flood = (await client.get("/drift")).json()
        before = peak_megabytes(process.pid)
        async with anyio.create_task_group() as tasks:
            for _ in range(64):
                tasks.start_soon(post, client)
            while len(statuses) < 64:
                began = monotonic()
                assert (await client.get("/health")).status_code == 200
                slowest = max(slowest, monotonic() - began)
                await anyio.sleep(0.02)
        after = peak_megabytes(process.pid)
        assert (await client.get("/drift")).json() == before_flood
    assert set(statuses) <= {422, 503}
    assert 422 in statuses
    assert after < before + 128
    assert slowest < SLOWEST_SECONDS


async def test_a_client_that_goes_away_is_no_failure(service: Service) -> None:
    head = b"POST /observations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    async with service.running() as (process, client):
        for length in (b"Content-Length: 100", b"Transfer-Encoding: chunked"):
            async with await anyio.connect_tcp("127.0.0.1", service.port) as stream:
                await stream.send(head + length + b"\r\n\r\n")
                await anyio.sleep(0.2)
        assert (await client.get("/drift")).json()["observations"]["received"] == 0
        await service.ended(process)
    assert "Traceback" not in service.log()


async def test_a_wrong_variable_is_told_in_one_line(service: Service) -> None:
    wrong = {**service.environment, "WINDOW": "many"}
    result = await anyio.run_process([sys.executable, "-m", MODULE], env=wrong, check=False)
    assert result.returncode == 2
    (line,) = result.stderr.decode().splitlines()
    assert line.startswith("WINDOW is 'many', which is no whole number")


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    return Path("/proc", str(pid)).exists()


def peak_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    (kilobytes,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(kilobytes) / 1024
