"""A tiny data set, and the command as a user runs it: what it says, and how it ends."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from ct_scan_mlops.data.synthetic import generate
from ct_scan_mlops.training import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COUNT = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A run of the command that has ended."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that tests only read."""
    root = tmp_path_factory.mktemp("slices")
    generate(root, count=COUNT, seed=7)
    return root


@pytest.fixture
def command(
    tmp_path: Path,
    slices: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Ended]:
    """Runs `training.run` in an empty directory, with small models and one epoch unless told."""
    monkeypatch.chdir(tmp_path)
    small = ("model.width=4", "model.image_size=32", "trainer.accelerator=cpu")

    def invoke(*overrides: str) -> Ended:
        defaults = (f"data.root={slices}", "trainer.max_epochs=1", *small)
        named = {override.partition("=")[0] for override in overrides}
        kept = [default for default in defaults if default.partition("=")[0] not in named]
        monkeypatch.setattr(sys, "argv", ["run", *overrides, *kept])
        code = 0
        try:
            with warnings.catch_warnings():
                run.main()
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        said = capsys.readouterr()
        return Ended(code=code, out=said.out, err=said.err)

    return invoke
