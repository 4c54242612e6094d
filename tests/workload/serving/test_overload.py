"""What a flood does to the service: nothing, but for the requests that it refuses."""

from __future__ import annotations

import subprocess  # noqa: TID251 - the workload runs where the tool, and its command.run, is not
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.workload.serving.conftest import Served

HERE = Path(__file__).parent
PROBE_SECONDS = 6.0
# A busy machine only ever adds to a delay, so the least of a few is the service's own.
ATTEMPTS = 3
HEALTH_P99_SECONDS = 0.5
# On a machine that is busy with other work /health is late without any flood: so many times more.
TIMES_IDLE = 10
QUIET_SECONDS = 2.0
# What the largest slice that is read takes, as pixels and as what it is resized through.
ONE_IMAGE = 2048 * 2048 * 4 * 2


@pytest.fixture(scope="module")
def idle_single(single: Served) -> tuple[Served, int]:
    """The service, and what it holds before anything was asked of it."""
    return single, single.memory()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """What came of it: the answers by status, and whether /health was answered meanwhile."""

    statuses: Counter[str]
    in_time: bool


@contextmanager
def probing(port: int, seconds: float) -> Iterator[Callable[[], float]]:
    """Asks /health meanwhile; gives what waits for its end and tells the 99th percentile."""
    program = [sys.executable, str(HERE / "probe_health.py"), str(port), str(seconds)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as probe:
        output = probe.stdout
        assert output is not None
        assert output.readline() == "probing\n"

        def p99() -> float:
            took = sorted(map(float, output.read().split()))
            return took[int(len(took) * 0.99)]

        yield p99


def flood(port: int, count: int, upload: Path) -> Flood:
    with probing(port, QUIET_SECONDS) as p99:
        late = max(HEALTH_P99_SECONDS, TIMES_IDLE * p99())
    with probing(port, PROBE_SECONDS) as p99:
        program = [sys.executable, str(HERE / "flood.py"), str(port), str(count), str(upload)]
        sent = subprocess.run(program, check=True, capture_output=True, text=True, timeout=60)
        health_p99 = p99()
    statuses = Counter(sent.stdout.splitlines())
    print(dict(statuses), f"health p99 {health_p99 * 1000:.0f} ms, limit {late * 1000:.0f} ms")
    return Flood(statuses=statuses, in_time=health_p99 < late)


def floods(port: int, count: int, upload: Path) -> list[Flood]:
    """As few as show that /health is answered, at most ATTEMPTS."""
    results = []
    for _ in range(ATTEMPTS):
        results.append(flood(port, count, upload))
        if results[-1].in_time:
            break
    return results


def test_thousand_uploads_at_once_are_answered_or_refused_within_bounds(
    idle_single: tuple[Served, int], png: bytes, tmp_path: Path
) -> None:
    served, idle = idle_single
    upload = tmp_path / "slice.png"
    upload.write_bytes(png)
    results = floods(served.port, 1000, upload)
    peak = served.memory("VmHWM")
    print(f"idle {idle >> 20} MiB, peak {peak >> 20} MiB")
    for result in results:
        assert set(result.statuses) == {"200", "503"}
        assert result.statuses.total() == 1000
        assert result.statuses["200"] >= 32
    assert results[-1].in_time
    assert peak < 1.5 * idle + ONE_IMAGE
    assert served.predict(png).status_code == 200
    counted = served.client.get("/metrics").text
    assert 'ct_scan_refused_total{reason="service unavailable",route="/predict"}' in counted


def test_uploads_of_the_largest_size_share_bounded_memory(
    idle_single: tuple[Served, int], tmp_path: Path
) -> None:
    served, idle = idle_single
    upload = tmp_path / "large"
    upload.write_bytes(bytes(16 * 1024 * 1024))
    served.forget_peak()
    results = floods(served.port, 64, upload)
    peak = served.memory("VmHWM")
    print(f"idle {idle >> 20} MiB, peak {peak >> 20} MiB")
    for result in results:
        assert set(result.statuses) <= {"415", "503"}
        assert result.statuses.total() == 64
    assert results[-1].in_time
    assert peak < 1.5 * idle
