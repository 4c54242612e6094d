"""The engine's memory does not grow with what it builds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import peak_megabytes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Project

pytestmark = [pytest.mark.privileged, pytest.mark.network]

MEGABYTES = 512
MOST_MEGABYTES = 200


def test_resident_memory_stays_small_while_a_large_image_is_built_and_exported(
    project: Project, tmp_path: Path
) -> None:
    words = ("call", "large", f"--megabytes={MEGABYTES}", "export", "--path=image.tar")
    process = project.start(*words, log=tmp_path / "log")
    most = peak_megabytes(process)
    assert process.returncode == 0, (tmp_path / "log").read_text()
    assert (project.home / "image.tar").stat().st_size > MEGABYTES << 20
    assert 10 < most < MOST_MEGABYTES
