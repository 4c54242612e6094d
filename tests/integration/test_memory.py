"""The engine's memory does not grow with what it builds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import POLL_SECONDS

if TYPE_CHECKING:
    from tests.integration.conftest import Project

pytestmark = [pytest.mark.privileged, pytest.mark.network]

MEGABYTES = 512
MOST_MEGABYTES = 200


def test_resident_memory_stays_small_while_a_large_image_is_built_and_exported(
    project: Project, tmp_path: Path
) -> None:
    words = ("call", "large", f"--megabytes={MEGABYTES}", "export", "--path=image.tar")
    process = project.start(*words, log=tmp_path / "log")
    most = 0.0
    while process.poll() is None:
        most = max(most, *map(megabytes, family(process.pid)))
        time.sleep(POLL_SECONDS)
    assert process.returncode == 0, (tmp_path / "log").read_text()
    assert (project.home / "image.tar").stat().st_size > MEGABYTES << 20
    assert 10 < most < MOST_MEGABYTES


def family(parent: int) -> list[int]:
    """A process and those below it that run the same program: what it starts is not counted."""
    found = [parent]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                children = [int(word) for word in task.read_text().split()]
                found += [child for child in children if is_engine(child)]
            except OSError:  # it has ended meanwhile
                continue
    return found


def is_engine(process: int) -> bool:
    return b"\0layerline\0call\0" in Path(f"/proc/{process}/cmdline").read_bytes()


def megabytes(process: int) -> float:
    """How much of it is resident."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:  # it has ended meanwhile
        return 0.0
    words = status.partition("VmRSS:")[2].split()
    return int(words[0]) / 1024 if words else 0.0
