"""A tiny data set, and the command as a user runs it: what it says, and how it ends."""

from __future__ import annotations

import io
import sys
import warnings
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from ct_scan_mlops.data.synthetic import generate
from ct_scan_mlops.training import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COUNT = 60
SMALL = ("model.width=4", "model.image_size=32", "trainer.accelerator=cpu", "trainer.max_epochs=1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A run of the command that has ended; `place` is where it ran."""

    place: Path
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
def command(tmp_path: Path, slices: Path) -> Callable[..., Ended]:
    """Runs `training.run` in an empty directory, with a small model and one epoch unless told."""

    def invoke(*overrides: str) -> Ended:
        return _invoked(tmp_path, slices, overrides)

    return invoke


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, slices: Path) -> Ended:
    """A run of two epochs that tests only look at."""
    return _invoked(tmp_path_factory.mktemp("run"), slices, ("trainer.max_epochs=2",))


def _invoked(place: Path, slices: Path, overrides: tuple[str, ...]) -> Ended:
    named = {override.partition("=")[0] for override in overrides}
    defaults = [f"data.root={slices}", *SMALL]
    kept = [default for default in defaults if default.partition("=")[0] not in named]
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        pytest.MonkeyPatch.context() as patched,
        chdir(place),
        warnings.catch_warnings(),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        patched.setattr(sys, "argv", ["run", *overrides, *kept])
        try:
            run.main()
        except SystemExit as leaving:
            code = int(leaving.code or 0)
    return Ended(place=place, code=code, out=out.getvalue(), err=err.getvalue())
