"""A million files are counted in less than ten seconds of work, and the user hears of it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from layerline.doctor import main
from layerline.doctor.build_context import Excluded, measure_context
from layerline.doctor.ignore import ignore_lines, is_secret
from layerline.engine.store.rmtree import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDERS, FILES = 1000, 1000
SECONDS = 10.0


@pytest.fixture
def million(tmp_path: Path) -> Iterator[Path]:
    """A thousand folders of a thousand names each, all of one file."""
    root = tmp_path / "project"
    root.mkdir()
    seed = root / "seed"
    seed.write_text("x")
    for number in range(FOLDERS):
        folder = root / f"part{number // 100}/folder{number}"
        folder.mkdir(parents=True)
        for file in range(FILES):
            os.link(seed, folder / f"file{file}.txt")
    (root / "Dockerfile").write_text("FROM scratch\nCOPY . .\n")
    yield root
    remove_tree(root)


@pytest.mark.slow
def test_a_million_files(million: Path, capsys: pytest.CaptureFixture[str]) -> None:
    excluded = Excluded(ignore_lines((), million))
    began = time.process_time()
    found = measure_context(million, excluded, is_secret=is_secret)
    took = time.process_time() - began
    with capsys.disabled():
        print(f"{found.files} files in {took:.1f} s of work")
    assert found.files == FOLDERS * FILES + 2
    assert took < SECONDS
    main.run_doctor(["--project", str(million), "--check", "context-size"], {})
    assert "files of the build context counted" in capsys.readouterr().err
