"""The start of an image: how it is measured, gated, and shown.

The program runs here as it does in an image; the memory is that of proc_pid_smaps(5).
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from layerline import command
from layerline.pipeline import report
from layerline.pipeline.cold_start import describe, is_wanted
from layerline.pipeline.definition import Image, parse_definition
from layerline.pipeline.diagnostics import DefinitionError
from layerline.pipeline.environment import program
from layerline.pipeline.image import _label  # what gets into the image
from tests.unit.pipeline.test_report import ORIGIN, PLAN, evidence

if TYPE_CHECKING:
    from pathlib import Path

# It is healthy late, holds memory in a child, and leaves an orphan that ignores SIGTERM.
SERVICE = """\
import os, signal, sys, time
place, seconds, megabytes = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
if os.fork() == 0:
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(f"{place}/orphans", "a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(600)
if os.fork() == 0:
    held = bytearray(megabytes * 10**6)
    held[::4096] = b"x" * len(held[::4096])
    time.sleep(seconds)
    open(f"{place}/ready", "w").close()
    time.sleep(600)
signal.signal(signal.SIGTERM, lambda *_: (os.unlink(f"{place}/ready"), sys.exit()))
signal.pause()
"""
DEFINITION = """\
[targets.cpu]
[groups.core]
requirements = ["numpy"]
[images.api]
target = "cpu"
groups = ["core"]
healthcheck = ["true"]
cold_start_ms = 3000
memory_mb = 500
"""


def measure(place: Path, argv: list[str], **budgets: int) -> tuple[int, str, str]:
    request = {
        "image": "api",
        "command": [sys.executable, *argv],
        "healthcheck": ["test", "-e", str(place / "ready")],
        "starts": 2,
        **dict.fromkeys(("cold_start_ms", "memory_mb")),
        **budgets,
    }
    argv = [sys.executable, "-I", "-c", program("cold_start.py"), json.dumps(request)]
    done = command.run(argv, cwd=place, expect=None)
    return done.status, done.stdout.decode(), done.stderr.decode()


def test_time_and_memory_are_those_of_all_its_processes_once_healthy(tmp_path: Path) -> None:
    service = ["-c", SERVICE, str(tmp_path), "0.3", "60"]
    status, output, error = measure(tmp_path, service, cold_start_ms=600_000, memory_mb=100_000)
    assert (status, error) == (0, "")
    found = json.loads(output)
    assert len(found["starts"]) == 2
    assert all(each["cold_start_ms"] >= 300 for each in found["starts"])
    assert all(60 <= each["memory_mb"] < 200 for each in found["starts"])
    orphans = (tmp_path / "orphans").read_text().split()
    assert len(orphans) == 2
    for process in orphans:
        assert command.run(["kill", "-0", process], expect=None).status != 0


def test_a_budget_that_is_exceeded_is_an_error(tmp_path: Path) -> None:
    service = ["-c", SERVICE, str(tmp_path), "0.1", "30"]
    status, output, error = measure(tmp_path, service, cold_start_ms=50, memory_mb=20)
    assert (status, output) == (1, "")
    first, second = error.splitlines()
    assert first.startswith("cold_start_ms of api is ")
    assert first.endswith(
        "), its budget is 50 ms: import what is large once it is needed, add bytecode = true, or "
        "raise cold_start_ms"
    )
    assert second.startswith("memory_mb of api is ")


def test_a_command_that_ends_is_an_error_with_what_it_said(tmp_path: Path) -> None:
    status, _, error = measure(tmp_path, ["-c", "print('no model'); raise SystemExit(3)"])
    assert status == 1
    assert error == (
        "no model\n\nthe image's command was started and it ended with status 3 before it was "
        "healthy\n"
    )


@pytest.mark.parametrize(("key", "line"), [("cold_start_ms", 8), ("memory_mb", 9)])
def test_a_budget_without_a_health_check_is_refused_at_its_line(key: str, line: int) -> None:
    text = DEFINITION.replace('healthcheck = ["true"]', "")
    with pytest.raises(DefinitionError) as refused:
        parse_definition(text)
    assert (
        f"layerline.toml:{line}: {key} of image api is measured by its health check, which it "
        'does not have: add healthcheck = ["python", "-m", "healthcheck"], or remove it'
    ) in str(refused.value)


def test_only_an_image_with_a_budget_is_started() -> None:
    spec = parse_definition(DEFINITION).image("api")
    assert is_wanted(spec)
    assert not is_wanted(spec.model_copy(update={"cold_start_ms": None, "memory_mb": None}))
    assert not is_wanted(Image(target="cpu", groups=("core",)))


MEASURED: dict[str, Any] = {
    "cold_start_ms": 812,
    "memory_mb": 210,
    "starts": [
        {"cold_start_ms": 1203, "memory_mb": 210, "check_ms": 45, "read_mb": 12.3},
        {"cold_start_ms": 812, "memory_mb": 211, "check_ms": 40, "read_mb": 0.0},
    ],
    "processors": 2,
    "budget": {"cold_start_ms": 1000, "memory_mb": None},
}


def test_it_is_in_the_report_and_never_in_the_label() -> None:
    found = evidence()
    found[-1]["start"] = MEASURED
    made = report.document("train", "cpu", found, PLAN, origin=ORIGIN)
    assert made["start"] == MEASURED
    assert describe(MEASURED) == (
        "healthy after 812 ms of 1000: the median of 1203, 812, of which the passing check took "
        "up to 45; 210 MB of memory; read from the disk 12.3, 0 MB, the rest from the page cache; "
        "2 processors"
    )
    assert describe(MEASURED) in report.page(made)
    assert _label(found) == _label(evidence())
