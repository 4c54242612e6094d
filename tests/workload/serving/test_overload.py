"""What a flood does to the service: nothing, but for the requests that it refuses."""

from __future__ import annotations

import subprocess  # noqa: TID251 - the workload runs where the tool, and its command.run, is not
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.workload.serving.conftest import Served

HERE = Path(__file__).parent
PROBE_SECONDS = 6.0
# A busy machine only ever adds to a delay, so the least of a few is the service's own.
ATTEMPTS = 3
HEALTH_P99_SECONDS = 0.5
# What the largest slice that is read takes, as pixels and as what it is resized through.
ONE_IMAGE = 2048 * 2048 * 4 * 2


@pytest.fixture(scope="module")
def idle_single(single: Served) -> tuple[Served, int]:
    """The service, and what it holds before anything was asked of it."""
    return single, single.memory()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """What came of it: the answers by status, and /health's 99th percentile meanwhile."""

    statuses: Counter[str]
    health_p99: float


def flood(port: int, count: int, upload: Path) -> Flood:
    program = [sys.executable, str(HERE / "probe_health.py"), str(port), str(PROBE_SECONDS)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as probe:
        assert probe.stdout is not None
        assert probe.stdout.readline() == "probing\n"
        program = [sys.executable, str(HERE / "flood.py"), str(port), str(count), str(upload)]
        sent = subprocess.run(program, check=True, capture_output=True, text=True, timeout=60)
        took = sorted(map(float, probe.stdout.read().split()))
    statuses = Counter(sent.stdout.splitlines())
    return Flood(statuses=statuses, health_p99=took[int(len(took) * 0.99)])


def floods(port: int, count: int, upload: Path) -> list[Flood]:
    """As few as show that /health is answered, at most ATTEMPTS."""
    results = []
    for _ in range(ATTEMPTS):
        results.append(flood(port, count, upload))
        print(dict(results[-1].statuses), f"health p99 {results[-1].health_p99 * 1000:.0f} ms")
        if results[-1].health_p99 < HEALTH_P99_SECONDS:
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
    assert results[-1].health_p99 < HEALTH_P99_SECONDS
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
    assert results[-1].health_p99 < HEALTH_P99_SECONDS
    assert peak < 1.5 * idle
