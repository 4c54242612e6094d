"""A session's network ends with all of its processes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from layerline.engine.runtime.network import SessionNetwork

pytestmark = pytest.mark.privileged


def test_what_holds_the_namespace_ends_with_pasta(tmp_path: Path) -> None:
    """It is the first process of a process namespace of its own, which outlives pasta."""
    with SessionNetwork.create(tmp_path):
        below = descendants(os.getpid())
    assert below
    deadline = time.monotonic() + 5
    while (left := [each for each in below if Path(f"/proc/{each}").exists()]) != []:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def descendants(process: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found
